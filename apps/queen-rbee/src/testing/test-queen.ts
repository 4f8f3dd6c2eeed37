import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_TIMEOUTS, type Logger, ServiceKey, silentLogger, systemClock, type Timeouts } from '@rbee/daemon-kit';
import { SseDecoder, type SseMessage } from '@rbee/protocol';
import { type Queen, type QueenParts, startQueen } from '../app.js';
import type { QueenSettings } from '../config.js';
import type { RunCopy } from '../copy/copy-job.js';
import { runCopy } from '../copy/run-copy.js';

export interface TestQueenOptions {
  readonly hivePort: number;
  readonly settings?: Partial<Omit<QueenSettings, 'timeouts'>>;
  readonly timeouts?: Partial<Timeouts>;
  /** File with the key of the queen; left out: she has none. */
  readonly keyFile?: string;
  readonly variables?: QueenParts['variables'];
  readonly hiveProgram?: QueenParts['hiveProgram'];
  /** Left out: copies are done in this process. */
  readonly runCopy?: RunCopy;
  readonly log?: Logger;
}

const EVENT_IDS = new WeakMap<SentEvent, string>();

/** The id that an event had on the wire; empty for one without. */
export function idOf(event: SentEvent | undefined): string {
  return (event && EVENT_IDS.get(event)) ?? '';
}

/** An event of a task stream, read back from the wire. */
export interface SentEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A running answer to a task, read as it comes. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Everything that has come, in order; `[DONE]` is an event of that type. */
  readonly events: SentEvent[];
  /** Resolves with an event once one of this type has come. */
  until(type: string): Promise<SentEvent>;
  /** Resolves with all events when the stream has ended. */
  readonly all: Promise<SentEvent[]>;
}

/** A queen on a free port, over the real app. */
export class TestQueen {
  readonly logDir: string;
  readonly #queen: Queen;

  private constructor(queen: Queen, logDir: string) {
    this.#queen = queen;
    this.logDir = logDir;
  }

  static async start(options: TestQueenOptions): Promise<TestQueen> {
    const logDir = mkdtempSync(join(tmpdir(), 'queen-test-'));
    const defaults: QueenSettings = {
      host: '127.0.0.1',
      port: 0,
      ephemeral: false,
      keepAlive: 0,
      startGrace: 10_000,
      hivePort: options.hivePort,
      logDir,
      logLevel: 'silent',
      silent: true,
      hiveTokenFile: undefined,
      bodyBytes: 1024 * 1024,
      queueLength: 256,
      configFile: undefined,
      database: join(logDir, 'beehives.db'),
      remoteBinaryPath: undefined,
      remoteGitRepoDir: undefined,
      mockHiveUrl: undefined,
      timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
    };
    // With the getters of the given ones, which are settings that change.
    const settings = Object.defineProperties(defaults, Object.getOwnPropertyDescriptors(options.settings ?? {}));
    const environment = {
      clock: systemClock,
      log: options.log ?? silentLogger,
      home: logDir,
      variables: { RBEE_NO_JITTER: '1', ...options.variables },
    };
    const queen = await startQueen({
      ...environment,
      settings,
      key: options.keyFile === undefined ? undefined : ServiceKey.load({ kind: 'file', path: options.keyFile }),
      pid: process.pid,
      user: userInfo().username,
      runCopy: options.runCopy ?? ((job, signal) => runCopy(job, environment, signal)),
      hiveProgram: options.hiveProgram ?? { command: process.execPath, args: ['-e', 'process.exit(7)', '--'] },
    });
    return new TestQueen(queen, logDir);
  }

  get url(): string {
    return this.#queen.url;
  }

  get ended(): Promise<number> {
    return this.#queen.ended;
  }

  async stop(): Promise<void> {
    await this.#queen.stop('the test is over');
    rmSync(this.logDir, { recursive: true, force: true });
  }

  /** Tells the queen that her settings have changed. */
  noteSettings(): void {
    this.#queen.noteSettings();
  }

  /** Begins to shut down and does not wait for it. */
  beginStop(): Promise<void> {
    return this.#queen.stop('the test wants it');
  }

  call(
    method: string,
    path: string,
    init: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ) {
    const { body, headers, signal } = init;
    return fetch(`${this.url}${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  }

  /** Calls a route that answers JSON. */
  async json(method: string, path: string, body?: unknown) {
    const response = await this.call(method, path, { body });
    // biome-ignore lint/suspicious/noExplicitAny: tests look at single fields of many shapes
    return { status: response.status, headers: response.headers, body: (await response.json()) as any };
  }

  /** Resolves once the queen lists its workers in these states; events of a hive need a moment. */
  async untilStates(...states: string[]): Promise<void> {
    for (;;) {
      const { body } = await this.json('GET', '/v2/workers/list');
      const listed = body.workers.map(({ state }: { state: string }) => state);
      if (listed.join() === states.join()) return;
    }
  }

  /** Runs a task as the keeper does. */
  task(body: unknown = {}, init: { headers?: Record<string, string>; signal?: AbortSignal } = {}): Promise<Answer> {
    return this.stream('POST', '/v2/tasks', { prompt: 'hello', ...(body as object) }, init);
  }

  async stream(
    method: string,
    path: string,
    body?: unknown,
    init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Answer> {
    const headers = { Accept: 'text/event-stream', ...init.headers };
    return readAnswer(await this.call(method, path, { body, ...init, headers }));
  }
}

function readAnswer(response: Response): Answer {
  const events: SentEvent[] = [];
  const waiting = new Set<() => void>();
  const look = () => {
    for (const each of [...waiting]) each();
  };
  const read = async () => {
    const decoder = new SseDecoder();
    for await (const chunk of response.body ?? []) {
      events.push(...decoder.push(chunk).map(toSentEvent));
      look();
    }
    return events;
  };
  const all = read().finally(look);
  all.catch(() => undefined);
  const until = async (type: string) => {
    for (;;) {
      const found = events.find((event) => event.type === type);
      if (found) return found;
      const more = new Promise<void>((resolve) => {
        const once = () => {
          waiting.delete(once);
          resolve();
        };
        waiting.add(once);
      });
      const over = await Promise.race([more.then(() => false), all.then(() => true)]);
      if (over && !events.some((event) => event.type === type)) {
        throw new Error(`the stream ended without ${type}: ${JSON.stringify(events)}`);
      }
    }
  };
  return { status: response.status, headers: response.headers, events, until, all };
}

function toSentEvent({ event, data, id }: SseMessage): SentEvent {
  if (data === '[DONE]') return { type: '[DONE]' };
  const parsed = JSON.parse(data) as SentEvent;
  if (parsed.type !== event) throw new Error(`the event ${event} carries the type ${parsed.type}`);
  if (id !== undefined) EVENT_IDS.set(parsed, id);
  return parsed;
}
