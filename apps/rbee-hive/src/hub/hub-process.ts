import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Clock, redact } from '@rbee/daemon-kit';
import { fromErrorEnvelope, RbeeError } from '@rbee/protocol';
import type { HubSettings } from '../config.js';
import { withoutSecrets } from '../workers/launch-plan.js';
import type { WorkerProgram } from '../workers/worker-process.js';
import type { FetchEvent, Fetching, FetchJob, FetchOptions, Hub, HubFile } from './hub.js';
import type { HubClientJob, HubClientLine, HubClientOrder, HubWork } from './hub-messages.js';
import { readHubToken } from './hub-token.js';

export interface HubProcessOptions {
  readonly hub: HubSettings;
  /** The hub client of this installation. */
  readonly program: WorkerProgram;
  readonly clock: Clock;
  /** How long the hub may be silent, in milliseconds; whoever fetches a file watches that as well, and more closely. */
  readonly silenceMs: number;
  /** Environment of the processes: proxies and certificates. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** From SIGTERM, or from the result, to SIGKILL. */
const KILL_MS = 3_000;
/** Lines of standard error that are kept to explain an end without a result. */
const EXPLAINING_LINES = 20;

/**
 * The hub, each request in a process of its own: it keeps the hive's memory small and its event loop free, whatever comes
 * over the network. It ends with the hive.
 */
export class HubProcess implements Hub {
  constructor(private readonly options: HubProcessOptions) {}

  get endpoint(): string {
    return this.options.hub.endpoint;
  }

  async listFiles(repo: string, signal: AbortSignal): Promise<HubFile[]> {
    const client = new HubClient(this.options, { list: { repo } }, () => undefined);
    const { files } = await client.run(signal);
    return files ?? [];
  }

  fetchFile(job: FetchJob, { signal, onEvent }: FetchOptions): Fetching {
    const client = new HubClient(this.options, { fetch: job }, onEvent);
    const done = client.run(signal).then(() => undefined);
    return { done, limit: (bytesPerSecond) => client.send({ limit: bytesPerSecond ?? null }) };
  }
}

type Result = Extract<HubClientLine, { result: unknown }>['result'];

/** One such process. */
class HubClient {
  private child: ChildProcess | undefined;
  /** An order that came before the process was there. */
  private waiting: HubClientOrder | undefined;
  private readonly lastLines: string[] = [];
  private outcome: Result | RbeeError | undefined;

  constructor(
    private readonly options: HubProcessOptions,
    private readonly work: HubWork,
    private readonly onEvent: (event: FetchEvent) => void,
  ) {}

  /** Settles when the process has gone. */
  async run(signal: AbortSignal): Promise<Result> {
    const { hub, silenceMs } = this.options;
    // Twice as long for a file, so that whoever fetches it comes first with its own verdict.
    const silence_ms = 'fetch' in this.work ? 2 * silenceMs : silenceMs;
    signal.throwIfAborted();
    const token = await readHubToken(hub);
    try {
      signal.throwIfAborted();
      const end = await this.live(
        { endpoint: hub.endpoint, token: token?.reveal(), silence_ms, work: this.work },
        signal,
      );
      // A file that is there is there, whatever anybody wished meanwhile.
      if (this.outcome && !(this.outcome instanceof Error)) return this.outcome;
      signal.throwIfAborted();
      throw this.outcome ?? this.toDeath(end);
    } finally {
      // Until here it is hidden in whatever the process says.
      token?.dispose();
    }
  }

  /** Without effect once the process has ended. */
  send(order: HubClientOrder): void {
    if (this.child) this.writeLine(order);
    else this.waiting = order;
  }

  /** From the start to the end of the process; resolves with how it ended. */
  private live(job: HubClientJob, signal: AbortSignal): Promise<string> {
    const { program, variables, clock } = this.options;
    const args = [...(program.nodeArguments ?? []), program.path, ...(program.arguments ?? [])];
    // The token goes over the pipe; other processes of the same user can read an environment.
    const env = withoutSecrets(variables);
    // A session of its own: Ctrl+C in the hive's terminal is for the hive to handle.
    const child = spawn(process.execPath, args, { env, stdio: 'pipe', detached: true });
    this.child = child;
    // Broken pipes say no more than the end of the process does.
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => this.read(line, killSoon));
    createInterface({ input: child.stderr }).on('line', (line) => this.remember(line));
    let cancelKill: () => void = () => undefined;
    const killSoon = () => {
      cancelKill();
      cancelKill = clock.after(KILL_MS, () => child.kill('SIGKILL'));
    };
    const abort = () => {
      child.kill('SIGTERM');
      killSoon();
    };
    signal.addEventListener('abort', abort, { once: true });
    // It watches the time for a list itself, as long as it runs at all; that for a file is watched by whoever wants it.
    const isLate = () => child.kill('SIGKILL');
    const cancelLate = 'list' in job.work ? clock.after(job.silence_ms + KILL_MS, isLate) : undefined;
    this.writeLine(job);
    if (this.waiting) this.writeLine(this.waiting);
    return new Promise<string>((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => resolve(`could not be started (${error.code})`));
      child.once('close', (code, killedBy) =>
        resolve(killedBy ? `was ended by ${killedBy}` : `ended with code ${code}`),
      );
    }).finally(() => {
      cancelKill();
      cancelLate?.();
      signal.removeEventListener('abort', abort);
    });
  }

  private writeLine(line: HubClientJob | HubClientOrder): void {
    if (this.child?.stdin?.writable) this.child.stdin.write(`${JSON.stringify(line)}\n`);
  }

  private read(text: string, onOutcome: () => void): void {
    const line = parseLine(text);
    if (line === undefined) this.remember(text);
    else if ('event' in line) this.onEvent(line.event);
    else {
      this.outcome =
        'result' in line ? line.result : (fromErrorEnvelope(line) ?? this.toDeath('gave an unknown error'));
      onOutcome();
    }
  }

  private remember(line: string): void {
    this.lastLines.push(redact(line));
    if (this.lastLines.length > EXPLAINING_LINES) this.lastLines.shift();
  }

  /** An end without a result. When Node.js fails, it says more after the error: where that was, and its own version. */
  private toDeath(end: string): RbeeError {
    const last = this.lastLines.findLast((line) => !/^(?:\s*|\s+at .*|Node\.js v.*)$/.test(line)) ?? 'it said nothing';
    const reason = 'the process that fetches from the hub ended';
    return new RbeeError('DOWNLOAD_FAILED', `the process that fetches from the hub ${end}: ${last}`, {
      details: { reason },
      suggestion:
        'repeat the command; what was received is kept. Look into the hive log: rbee-keeper logs --node localhost',
      cause: new Error(this.lastLines.join('\n') || end),
    });
  }
}

function parseLine(text: string): HubClientLine | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
