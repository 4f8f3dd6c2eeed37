import {
  type Clock,
  formatDuration,
  httpTransport,
  type Logger,
  type Narrate,
  sleep,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import { isRbeeError, LOCALHOST, RbeeError } from '@rbee/protocol';
import { askHealth } from './ask-health.js';
import { type HiveCommand, HiveProcess } from './hive-process.js';
import { hiveStartFailed } from './hive-start-error.js';
import { keyedTransport, LearnedKey } from './keyed-transport.js';
import type { HiveHealth, Link } from './link.js';
import { LOCAL_KEY_ADVICE, type LocalHiveKey } from './local-hive-key.js';
import { StartGate } from './start-gate.js';
import type { StartedHiveRecord } from './started-hive-record.js';
import { WorkerTransports } from './worker-transports.js';

const FIRST_POLL_MS = 25;
const LONGEST_POLL_MS = 100;

export interface LocalLinkOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly hivePort: number;
  readonly hiveKey: LocalHiveKey;
  /** How a hive is started; its variables name the file of `hiveKey`. */
  readonly hiveCommand: HiveCommand;
  /** Where the hive that this queen starts is noted; left out: nowhere. */
  readonly record?: StartedHiveRecord | undefined;
}

/** The link to this machine: HTTP on the loopback address, and a hive that is started as a child when none answers. */
export class LocalLink implements Link {
  readonly kind = 'local';
  readonly node = LOCALHOST;
  readonly hive: Target;
  readonly #options: LocalLinkOptions;
  readonly #key: LearnedKey;
  readonly #workers: WorkerTransports;
  readonly #gate = new StartGate<HiveHealth>();
  /** The hive that this queen started and has to end; any other one stays as it is. */
  #owned: HiveProcess | undefined;
  /** A hive that this queen started and that was killed: its workers go on until another hive takes them over. */
  #killed: HiveProcess | undefined;
  #starting = false;
  /** Whether the hive that is starting has to read its configuration again once it can. */
  #reloadDue = false;

  constructor(options: LocalLinkOptions) {
    const { clock, log, timeouts, hivePort, hiveKey } = options;
    this.#options = options;
    const url = `http://127.0.0.1:${hivePort}`;
    const transport = httpTransport({ name: 'rbee-hive', url, connectTimeoutMs: timeouts.connect });
    this.#key = new LearnedKey(async () => hiveKey.read());
    const about = { node: this.node, advice: LOCAL_KEY_ADVICE, log };
    this.hive = { transport: keyedTransport(transport, this.#key, about), clock };
    this.#workers = new WorkerTransports({ connectTimeoutMs: timeouts.connect });
  }

  get ownsHive(): boolean {
    return this.#owned?.running ?? false;
  }

  workerAt(url: string): Target {
    return { transport: this.#workers.at(url), clock: this.#options.clock };
  }

  async reach(_narrate: Narrate, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
  }

  onLost(): () => void {
    return () => undefined;
  }

  async findHive(signal?: AbortSignal): Promise<HiveHealth | undefined> {
    const health = await askHealth(this.hive, { timeoutMs: this.#options.timeouts.health_call, signal });
    if (health) this.#takeOver(health);
    return health;
  }

  startHive(narrate: Narrate): Promise<HiveHealth> {
    return this.#gate.start((signal) => this.#start(narrate, signal));
  }

  stopHive(narrate: Narrate): Promise<boolean> {
    const reason = new RbeeError('CANCELLED', `the hive of ${this.node} is being stopped`);
    return this.#gate.stop(reason, () => this.#stopOwned(narrate));
  }

  /**
   * Has the hive that this queen owns read its configuration and its key again; any other one is let be. The key that the
   * link knows stays in use until the hive refuses it: so it does not matter which of both reads a new one first.
   */
  reloadHive(): void {
    if (this.#owned?.running) this.#hangUp(this.#owned);
    // A signal to a program that does not attend to it yet would end it.
    else this.#reloadDue = this.#starting;
  }

  reset(): void {
    this.hive.transport.close();
    this.#workers.reset();
  }

  async close(): Promise<void> {
    await this.#gate.close(new RbeeError('CANCELLED', 'the queen is shutting down'));
    this.hive.transport.close();
    this.#workers.close();
  }

  /** A hive that a killed queen has started is this queen's now: nobody else would end it. */
  #takeOver({ pid }: HiveHealth): void {
    const { clock, log, record, hiveCommand } = this.#options;
    if (this.#owned) return;
    const orphan = record?.orphan();
    if (orphan === undefined || orphan.pid !== pid) return;
    const hive = HiveProcess.adopt(orphan, hiveCommand, clock);
    if (!hive.running) return;
    log.info({ pid, node: this.node }, 'took over the hive that an earlier queen has started');
    this.#own(hive);
  }

  /** What a killed queen has left and this one has not met: its hive, or the workers of that. */
  async #meetOrphan(): Promise<void> {
    const { clock, record, hiveCommand } = this.#options;
    const orphan = record?.orphan();
    if (this.#owned || this.#killed || orphan === undefined) return;
    const hive = HiveProcess.adopt(orphan, hiveCommand, clock);
    if (hive.running) await this.findHive();
    else this.#killed = hive;
  }

  async #stopOwned(narrate: Narrate): Promise<boolean> {
    const { clock, log, timeouts, record } = this.#options;
    await this.#meetOrphan();
    const hive = this.#owned;
    // The news of its end may still be on its way.
    const killedBefore = hive ?? this.#killed;
    this.#killed = undefined;
    this.#owned = undefined;
    if (!hive?.running) {
      await killedBefore?.endWorkers(clock);
      if (killedBefore) record?.remove();
      return false;
    }
    const say = (human: string, level: 'info' | 'warn' = 'info') =>
      narrate({ actor: 'queen-rbee', action: 'shutdown', target: this.node, human, level });
    say(`stopping the hive (pid ${hive.pid})`);
    const limit = timeouts.queen_waits_for_hives;
    const { killed } = await hive.end(clock, limit);
    record?.remove();
    if (!killed) return true;
    log.warn(
      { pid: hive.pid, reason: 'shutdown took too long', signal: 'SIGKILL', at: new Date(clock.now()).toISOString() },
      'a hive was killed',
    );
    say(`killed the hive (pid ${hive.pid}): it did not end within ${formatDuration(limit)}`, 'warn');
    return true;
  }

  async #start(narrate: Narrate, signal: AbortSignal): Promise<HiveHealth> {
    this.#starting = true;
    this.#reloadDue = false;
    try {
      return await this.#startNow(narrate, signal);
    } finally {
      this.#starting = false;
    }
  }

  async #startNow(narrate: Narrate, signal: AbortSignal): Promise<HiveHealth> {
    const { clock, log, hivePort, hiveCommand } = this.#options;
    const startedAt = clock.monotonic();
    const say = (human: string, more: { duration_ms?: number } = {}) =>
      narrate({ actor: 'queen-rbee', action: 'hive_start', target: this.node, human, ...more });
    say(`no hive answers on port ${hivePort}: starting one`);
    this.#provideKey();
    const hive = await HiveProcess.start(hiveCommand);
    log.info({ pid: hive.pid, node: this.node }, 'a hive was started');
    try {
      const health = await this.#untilHealthy(hive, signal);
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
    const { log, record } = this.#options;
    this.#owned = hive;
    record?.write(hive.identity);
    this.#killed = undefined;
    if (this.#reloadDue) this.#hangUp(hive);
    this.#reloadDue = false;
    void hive.exited.then(({ code, signal }) => {
      if (this.#owned !== hive) return;
      this.#owned = undefined;
      // A hive that ends in order has ended its workers.
      if (code !== 0) this.#killed = hive;
      log.warn({ pid: hive.pid, code, signal, node: this.node }, 'the hive ended by itself');
    });
  }

  #hangUp(hive: HiveProcess): void {
    hive.hangUp();
    this.#options.log.info({ pid: hive.pid, node: this.node }, 'told the hive to read its configuration again');
  }

  /** Whoever else is on this machine must not be able to ask a hive that is started here. Throws HIVE_START_FAILED. */
  #provideKey(): void {
    const { hiveKey, hivePort: port } = this.#options;
    try {
      hiveKey.provide();
    } catch (error) {
      if (!isRbeeError(error)) throw error;
      const { message, suggestion } = error;
      const why = `cannot have a key: ${message}`;
      throw hiveStartFailed({ node: this.node, port, why, lastLines: [], ...(suggestion && { suggestion }) });
    }
    this.#key.forget();
  }

  async #untilHealthy(hive: HiveProcess, signal: AbortSignal): Promise<HiveHealth> {
    const { clock, timeouts } = this.#options;
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
    let killed = false;
    let why = `was not healthy on port ${hivePort} within ${formatDuration(timeoutMs ?? 0)}`;
    if (timeoutMs === undefined) {
      const { code, signal } = await hive.exited;
      killed = signal !== null;
      why = `ended before it was healthy (${signal ?? `exit code ${code}`})`;
    }
    const diskFull = lastLines.length === 0 && (await hive.diskIsFull());
    return hiveStartFailed({ node: this.node, port: hivePort, why, lastLines, diskFull, killed });
  }
}
