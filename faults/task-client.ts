import { request } from 'node:http';
import { SseDecoder } from '@rbee/protocol';
import { pass } from './seconds.js';

interface ClientOptions {
  readonly queenUrl: string;
  /** Body of the task; must have a `job_id`. */
  readonly body: Readonly<Record<string, unknown>> & { readonly job_id: string };
  /** Address of this machine that the client comes from. */
  readonly from?: string;
  /** Goes away after so many tokens. */
  readonly leaveAfter?: number;
  /** Waits so long after each piece that it has read, as a slow reader does. */
  readonly pauseMs?: number;
  /** How long it looks for a queen that does not answer. */
  readonly patienceMs?: number;
  /** Told of each event as it comes. */
  readonly onEvent?: (event: TaskEvent) => void;
}

export interface TaskEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** What a client has seen of its task. */
export interface Seen {
  text: string;
  /** Index of the next token event. */
  next: number;
  /** Token events whose index was not the one that had to come. */
  misplaced: number;
  terminals: TaskEvent[];
  /** How often it came back. */
  returns: number;
  /** Answers that sent it away for now, with 503 and Retry-After. */
  refusals: number;
  /** Wrong things about the stream itself. */
  faults: string[];
  left: boolean;
}

const PATIENCE_MS = 40_000;
const RETRY_MS = 100;

/**
 * Sends a task and follows it to its end as a good client does: comes back with Last-Event-ID after a lost connection, and
 * later after a refusal that says when. Never throws: what went wrong is in what it has seen.
 */
export async function followTask(options: ClientOptions): Promise<Seen> {
  const { patienceMs = PATIENCE_MS } = options;
  const seen: Seen = {
    text: '',
    next: 0,
    misplaced: 0,
    terminals: [],
    returns: 0,
    refusals: 0,
    faults: [],
    left: false,
  };
  let lastId: string | undefined;
  let silentSince = performance.now();
  let isKnown = false;
  while (seen.terminals.length === 0 && !seen.left) {
    const outcome = await readOnce(options, seen, isKnown ? { lastId } : undefined, (id) => {
      lastId = id;
      isKnown = true;
      silentSince = performance.now();
    });
    if (outcome.kind === 'refused') {
      seen.refusals++;
      silentSince = performance.now();
      await pass(outcome.afterMs);
      continue;
    }
    if (seen.terminals.length > 0 || seen.left) break;
    if (outcome.kind === 'failed') {
      seen.faults.push(outcome.why);
      break;
    }
    if (performance.now() - silentSince > patienceMs) {
      seen.faults.push(`no queen answered for ${patienceMs} ms`);
      break;
    }
    if (isKnown) seen.returns++;
    await pass(RETRY_MS);
  }
  return seen;
}

type Outcome =
  | { readonly kind: 'over' }
  | { readonly kind: 'refused'; readonly afterMs: number }
  | { readonly kind: 'failed'; readonly why: string };

/** One connection: the first sends the task, later ones ask for what came after `back.lastId`. */
function readOnce(
  options: ClientOptions,
  seen: Seen,
  back: { readonly lastId: string | undefined } | undefined,
  onId: (id: string) => void,
): Promise<Outcome> {
  const { queenUrl, body, from } = options;
  const path = back ? `/v2/tasks/${body.job_id}/events` : '/v2/tasks';
  const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  return new Promise((resolve) => {
    const over = () => resolve({ kind: 'over' });
    const outgoing = request(queenUrl + path, {
      method: back ? 'GET' : 'POST',
      headers: { ...headers, ...(back?.lastId ? { 'Last-Event-ID': back.lastId } : {}) },
      agent: false,
      ...(from ? { localAddress: from } : {}),
    });
    outgoing.on('error', over);
    outgoing.on('response', async (incoming) => {
      const decoder = new SseDecoder();
      let text = '';
      try {
        for await (const chunk of incoming) {
          if (incoming.statusCode !== 200) {
            text += chunk;
            continue;
          }
          for (const message of decoder.push(chunk as Buffer)) {
            if (message.data === '[DONE]') continue;
            note(JSON.parse(message.data) as TaskEvent, options, seen);
            if (message.id) onId(message.id);
            if (seen.left) {
              outgoing.destroy();
              return over();
            }
          }
          if (options.pauseMs) await pass(options.pauseMs);
        }
      } catch {
        // It broke off: whoever wants the rest comes back.
        return over();
      }
      if (incoming.statusCode === 200) return over();
      const afterMs = 1_000 * Number(incoming.headers['retry-after'] ?? Number.NaN);
      if (incoming.statusCode === 503 && afterMs >= 0) return resolve({ kind: 'refused', afterMs });
      resolve({ kind: 'failed', why: `${path}: ${incoming.statusCode} ${text.slice(0, 300)}` });
    });
    outgoing.end(back ? undefined : JSON.stringify(body));
  });
}

function note(event: TaskEvent, options: ClientOptions, seen: Seen): void {
  if (seen.terminals.length > 0) seen.faults.push(`${event.type} came after the end`);
  if (event.type === 'token') {
    if (event.i !== seen.next) seen.misplaced++;
    seen.next = Number(event.i) + 1;
    seen.text += String(event.t);
    if (seen.next === options.leaveAfter) seen.left = true;
  } else if (event.type === 'end' || event.type === 'error') seen.terminals.push(event);
  options.onEvent?.(event);
}

/** What is wrong with what a client saw of a task that had to end well; nothing when all is as it should be. */
export function findFlaw(seen: Seen, expected: string): string | undefined {
  const [terminal] = seen.terminals;
  if (seen.faults.length > 0) return seen.faults.join('; ');
  if (terminal?.type !== 'end') return `it ended with ${JSON.stringify(terminal)}`.slice(0, 400);
  if (seen.misplaced > 0) return `${seen.misplaced} tokens were twice there or missing`;
  if (seen.text !== expected) return `its text differs: ${seen.text.length} characters, not ${expected.length}`;
  return undefined;
}
