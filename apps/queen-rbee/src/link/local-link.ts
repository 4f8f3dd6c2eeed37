import {
  type Clock,
  callJson,
  formatDuration,
  httpTransport,
  type Logger,
  type Narrate,
  type Secret,
  sleep,
  type Target,
  type Timeouts,
  type Transport,
} from '@rbee/daemon-kit';
import { hiveRoutes, isRbeeError, RbeeError } from '@rbee/protocol';
import { type HiveCommand, HiveProcess } from './hive-process.js';
import type { HiveHealth, Link } from './link.js';

/** Name of the machine that the queen itself runs on; it is a node without any set-up. */
const LOCALHOST = 'localhost';

const FIRST_POLL_MS = 25;
const LONGEST_POLL_MS = 100;

export interface LocalLinkOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly hivePort: number;
  /** What the hive demands of its callers; `undefined`: nothing. */
  readonly hiveKey?: Secret | undefined;
  /** How a hive is started. */
  readonly hiveCommand: HiveCommand;
}

/** The link to this machine: HTTP on the loopback address, and a hive that is started as a child when none answers. */
export class LocalLink implements Link {
  readonly node = LOCALHOST;
  readonly hive: Target;
  readonly #options: LocalLinkOptions;
  readonly #workers = new Map<string, Transport>();
  readonly #released = new AbortController();
  /** The hive that this queen started and has to end; any other one stays as it is. */
  #owned: HiveProcess | undefined;
  #starting: Promise<HiveHealth> | undefined;

  constructor(options: LocalLinkOptions) {
    const { clock, timeouts, hivePort, hiveKey } = options;
    this.#options = options;
    const url = `http://127.0.0.1:${hivePort}`;
    const transport = httpTransport({ name: 'rbee-hive', url, connectTimeoutMs: timeouts.connect });
    this.hive = { transport, clock, key: hiveKey };
  }

  workerAt(url: string): Target {
    const { clock, timeouts } = this.#options;
    let transport = this.#workers.get(url);
    if (!transport) {
      transport = httpTransport({ name: 'llm-worker-rbee', url, connectTimeoutMs: timeouts.connect });
      this.#workers.set(url, transport);
    }
    return { transport, clock };
  }

  async findHive(signal?: AbortSignal): Promise<HiveHealth | undefined> {
    try {
      return await callJson(this.hive, hiveRoutes.health, { timeoutMs: this.#options.timeouts.health_call, signal });
    } catch (error) {
      // Refused or reset: nothing listens there, or it is just ending.
      if (isRbeeError(error) && /^ECONN(REFUSED|RESET)$/.test(String(error.details.cause))) return undefined;
      throw error;
    }
  }

  startHive(narrate: Narrate): Promise<HiveHealth> {
    this.#starting ??= this.#start(narrate).finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async releaseHive(narrate: Narrate): Promise<void> {
    const { clock, log, timeouts } = this.#options;
    this.#released.abort(new RbeeError('CANCELLED', 'the queen is shutting down'));
    // A start that is under way ends its own process.
    await this.#starting?.catch(() => undefined);
    const hive = this.#owned;
    if (!hive?.running) return;
    this.#owned = undefined;
    narrate({
      actor: 'queen-rbee',
      action: 'shutdown',
      target: this.node,
      human: `stopping the hive (pid ${hive.pid})`,
    });
    const { killed } = await hive.end(clock, timeouts.queen_waits_for_hives);
    if (!killed) return;
    log.warn(
      { pid: hive.pid, reason: 'shutdown took too long', signal: 'SIGKILL', at: new Date(clock.now()).toISOString() },
      'a hive was killed',
    );
    narrate({
      actor: 'queen-rbee',
      action: 'shutdown',
      target: this.node,
      level: 'warn',
      human: `killed the hive (pid ${hive.pid}): it did not end within ${formatDuration(timeouts.queen_waits_for_hives)}`,
    });
  }

  close(): void {
    this.hive.transport.close();
    for (const transport of this.#workers.values()) transport.close();
    this.#workers.clear();
  }

  async #start(narrate: Narrate): Promise<HiveHealth> {
    const { clock, log, hivePort, hiveCommand } = this.#options;
    this.#released.signal.throwIfAborted();
    const startedAt = clock.monotonic();
    const say = (human: string, more: { duration_ms?: number } = {}) =>
      narrate({ actor: 'queen-rbee', action: 'hive_start', target: this.node, human, ...more });
    say(`no hive answers on port ${hivePort}: starting one`);
    const hive = await HiveProcess.start(hiveCommand);
    log.info({ pid: hive.pid, node: this.node }, 'a hive was started');
    try {
      const health = await this.#untilHealthy(hive);
      if (health.pid !== undefined && health.pid !== hive.pid) {
        // Somebody else's hive got the port first; it is used, and stays when the queen ends.
        say(`a hive answers already (pid ${health.pid}): using it`);
        await hive.end(clock, this.#options.timeouts.kill);
        return health;
      }
      this.#own(hive);
      const duration_ms = Math.round(clock.monotonic() - startedAt);
      say(`hive ${health.version} started (pid ${hive.pid}) in ${formatDuration(duration_ms)}`, { duration_ms });
      return health;
    } catch (error) {
      await hive.end(clock, this.#options.timeouts.kill);
      throw error;
    }
  }

  #own(hive: HiveProcess): void {
    const { log } = this.#options;
    this.#owned = hive;
    void hive.exited.then(({ code, signal }) => {
      if (this.#owned !== hive) return;
      this.#owned = undefined;
      log.warn({ pid: hive.pid, code, signal, node: this.node }, 'the hive ended by itself');
    });
  }

  async #untilHealthy(hive: HiveProcess): Promise<HiveHealth> {
    const { clock, timeouts } = this.#options;
    const { signal } = this.#released;
    const end = clock.monotonic() + timeouts.local_hive_healthy;
    let exited = false;
    void hive.exited.then(() => {
      exited = true;
    });
    for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_POLL_MS)) {
      // Read before the probe: a hive that lost the port to another one has ended, and yet a hive answers.
      const ended = exited;
      const health = await this.findHive(signal);
      if (health) return health;
      if (ended) throw await this.#toStartError(hive);
      if (clock.monotonic() >= end) throw await this.#toStartError(hive, timeouts.local_hive_healthy);
      await sleep(clock, pauseMs, signal);
    }
  }

  async #toStartError(hive: HiveProcess, timeoutMs?: number): Promise<RbeeError> {
    const { hivePort } = this.#options;
    const lastLines = await hive.lastLines();
    let why = `was not healthy on port ${hivePort} within ${formatDuration(timeoutMs ?? 0)}`;
    if (timeoutMs === undefined) {
      const { code, signal } = await hive.exited;
      why = `ended before it was healthy (${signal ?? `exit code ${code}`})`;
    }
    const full = lastLines.length === 0 && (await hive.diskIsFull());
    const cause = full ? 'the disk with its logs is full' : findCause(lastLines);
    return new RbeeError('HIVE_START_FAILED', `the hive of ${this.node} ${why}${cause ? `: ${cause}` : ''}`, {
      details: { node: this.node, port: hivePort, last_output: lastLines },
      suggestion: full
        ? 'free some space (df -h ~/.rbee shows how much there is), then try again'
        : 'look at rbee-hive.out.log in the log folder (~/.rbee/logs), then try again',
    });
  }
}

/** The line in which the hive says what is wrong; what follows it is advice or a stack. Else the last line. */
function findCause(lines: readonly string[]): string | undefined {
  const line = lines.findLast((text) => /\bError: /.test(text)) ?? lines.at(-1);
  return line?.trim().replace(/^\[rbee-hive\] Error: /, '');
}
