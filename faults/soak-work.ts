import { request } from 'node:http';
import { pass } from './seconds.js';
import { NODE, type Site } from './site.js';
import { MODELS, MOST_TOKENS, PROMPTS, type SoakTexts, toBody, type Wish } from './soak-texts.js';
import { followTask, type Seen } from './task-client.js';

/** What has happened so far. */
export interface Tally {
  /** Tasks by kind. */
  readonly tasks: Record<string, number>;
  tokens: number;
  /** Clients that came back with Last-Event-ID. */
  returns: number;
  /** Tasks that were accepted and did not end as they should. */
  readonly lost: string[];
  /** Streams with a token twice or missing, or another text. */
  readonly duplicated: string[];
}

type Pick = <T>(choices: readonly T[]) => T;

const KINDS = ['whole', 'whole', 'whole', 'cancelled', 'left', 'slow', 'collected', 'keeper', 'batch'] as const;

/** One client's work until it is told that it is over: one task after the other, of every kind. */
export async function work(
  site: Site,
  texts: SoakTexts,
  tally: Tally,
  random: () => number,
  isOver: () => boolean,
): Promise<void> {
  const pick: Pick = (choices) => choices[Math.floor(random() * choices.length)] as (typeof choices)[number];
  while (!isOver()) {
    const kind = pick(KINDS);
    const tokens = 5 + Math.floor(random() * (MOST_TOKENS - 5));
    const wish: Wish = { model: pick(MODELS), prompt: pick(PROMPTS), tokens };
    tally.tasks[kind] = (tally.tasks[kind] ?? 0) + 1;
    if (kind === 'keeper') await runKeeper(site, texts, tally, wish);
    else if (kind === 'collected') await collect(site, texts, tally, wish);
    else await follow(site, texts, tally, wish, kind, 1 + Math.floor(random() * tokens));
  }
}

async function follow(
  site: Site,
  texts: SoakTexts,
  tally: Tally,
  wish: Wish,
  kind: (typeof KINDS)[number],
  after: number,
): Promise<void> {
  const body = { ...toBody(wish), priority: kind === 'batch' ? 'batch' : 'interactive' };
  let cancelled: Promise<unknown> | undefined;
  const seen = await followTask({
    queenUrl: site.queenUrl,
    body,
    ...(kind === 'left' ? { leaveAfter: after } : {}),
    ...(kind === 'slow' ? { pauseMs: 25 } : {}),
    onEvent: ({ type, i }) => {
      if (kind !== 'cancelled' || type !== 'token' || i !== after - 1) return;
      // A queen that is killed in this moment never hears of it; then the answer comes whole.
      cancelled = fetch(`${site.queenUrl}/v2/tasks/${body.job_id}`, { method: 'DELETE' }).catch(() => undefined);
    },
  });
  await cancelled;
  judge(seen, texts, tally, wish, kind);
}

function judge(seen: Seen, texts: SoakTexts, tally: Tally, wish: Wish, kind: string): void {
  tally.tokens += seen.next;
  tally.returns += seen.returns;
  const about = `${kind} ${wish.model} ${wish.tokens}`;
  if (!texts.isBeginning(wish, seen)) tally.duplicated.push(`${about}: ${seen.misplaced} misplaced of ${seen.next}`);
  const [terminal] = seen.terminals;
  if (kind === 'left' && seen.left) return;
  if (kind === 'cancelled' && terminal?.code === 'CANCELLED') return;
  if (seen.terminals.length === 1 && terminal?.type === 'end' && seen.text === texts.textOf(wish)) return;
  const how = seen.faults.length > 0 ? seen.faults.join('; ') : JSON.stringify(terminal)?.slice(0, 800);
  tally.lost.push(`${about} after ${seen.next} tokens: ${how}`);
}

/** A client that wants one JSON answer: it cannot come back for the rest, so it asks again with the same id. */
async function collect(site: Site, texts: SoakTexts, tally: Tally, wish: Wish): Promise<void> {
  const body = { ...toBody(wish), stream: false };
  const end = performance.now() + 90_000;
  for (;;) {
    const answer = await postForJson(site.queenUrl, body);
    if (answer === undefined || answer.status === 503) {
      if (performance.now() > end) return void tally.lost.push(`collected: no answer`);
      tally.returns++;
      await pass(200);
      continue;
    }
    const { text } = JSON.parse(answer.text) as { text?: string };
    if (answer.status === 200 && text === texts.textOf(wish)) tally.tokens += wish.tokens;
    else tally.lost.push(`collected ${wish.model} ${wish.tokens}: ${answer.status} ${answer.text.slice(0, 300)}`);
    return;
  }
}

/** Answers nothing when the connection broke. */
function postForJson(queenUrl: string, body: object): Promise<{ status: number; text: string } | undefined> {
  return new Promise((resolve) => {
    const headers = { 'Content-Type': 'application/json' };
    const outgoing = request(`${queenUrl}/v2/tasks`, { method: 'POST', headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (part: string) => {
        text += part;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
      incoming.on('error', () => resolve(undefined));
      incoming.on('close', () => resolve(undefined));
    });
    outgoing.on('error', () => resolve(undefined));
    outgoing.end(JSON.stringify(body));
  });
}

async function runKeeper(site: Site, texts: SoakTexts, tally: Tally, wish: Wish): Promise<void> {
  const { model, prompt, tokens } = wish;
  const args = ['infer', '--quiet', '--no-spawn', '--node', NODE, '--model', model, '--raw', '--prompt', prompt];
  const keeper = site.keeper([...args, '--temperature', '0', '--max-tokens', String(tokens)]);
  const exit = await keeper.waitForExit(120_000);
  const expected = texts.textOf(wish);
  const { stdout, stderr } = keeper.text;
  if (!expected.trim().startsWith(stdout.trim())) tally.duplicated.push(`keeper: ${stdout.slice(-60)}`);
  // 137: it was killed itself, and has nothing to complain about.
  if (exit === 137) return;
  // A queen that was just being started again when the keeper came is no loss: nothing was accepted.
  if (exit !== 0 && stdout === '' && /QUEEN_UNREACHABLE/.test(stderr)) return;
  if (exit !== 0 || stdout.trim() !== expected.trim()) tally.lost.push(`keeper exit ${exit}: ${stderr.slice(-300)}`);
  else tally.tokens += tokens;
}
