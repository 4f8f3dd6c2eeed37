import { randomUUID } from 'node:crypto';
import {
  type Clock,
  formatDuration,
  httpTransport,
  type Logger,
  type Narrate,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { OwnedHive } from '../registry/node-record.js';
import { askHealth } from './ask-health.js';
import { keyedTransport, LearnedKey } from './keyed-transport.js';
import type { HiveHealth, Link } from './link.js';
import { type LaunchedHive, RemoteHive } from './remote-hive.js';
import type { RemoteSession } from './remote-session.js';
import { preflightMachine } from './ssh-preflight.js';
import { StartGate } from './start-gate.js';
import { untilHealthy } from './until-healthy.js';
import { WorkerTransports } from './worker-transports.js';

export interface SshLinkOptions {
  readonly node: string;
  readonly session: RemoteSession;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly hivePort: number;
  readonly installPath: string;
  /** Node.js on the node, as far as it is known. */
  readonly nodePath: string | undefined;
  /** Program that is used in place of the one in `installPath`. */
  readonly binaryPath: string | undefined;
  /** The hive that this queen started before she was started again. */
  readonly initialOwned: OwnedHive | undefined;
  /** Told when this queen has started a hive, and when that is no longer hers or has ended. */
  readonly onOwned: (owned: OwnedHive | undefined) => void;
  /** Where Node.js is looked for; left out: the usual places. */
  readonly nodeCandidates?: readonly string[];
}

/**
 * The link to a machine that is reached over SSH. Hive and workers listen on its loopback address; every request to them
 * travels through the one connection, with the key that the node keeps. A hive that is started here outlives the
 * connection: it is hers who started it until it is ended, or another one answers in its place.
 */
export class SshLink implements Link {
  readonly kind = 'ssh';
  readonly node: string;
  readonly hive: Target;
  readonly #options: SshLinkOptions;
  readonly #session: RemoteSession;
  readonly #remote: RemoteHive;
  readonly #key: LearnedKey;
  readonly #workers: WorkerTransports;
  readonly #gate = new StartGate<HiveHealth>();
  #owned: OwnedHive | undefined;
  /** Whether the owned hive has answered, or was started, since this queen runs. */
  #ownedWasMet = false;
  #launcher: readonly string[] | undefined;
  /** Names of the launches whose answers got lost with the connection: the processes are hers all the same. */
  readonly #unanswered = new Set<string>();

  constructor(options: SshLinkOptions) {
    const { node, session, clock, log, timeouts, hivePort, installPath } = options;
    this.#options = options;
    this.node = node;
    this.#session = session;
    this.#owned = options.initialOwned;
    this.#remote = new RemoteHive({ node, machine: session, timeouts, hivePort, installPath });
    this.#key = new LearnedKey(() => this.#remote.readKey());
    const way = {
      connectTimeoutMs: timeouts.connect,
      openSocket: (address: { host: string; port: number }) => session.openSocket(address),
    };
    this.#workers = new WorkerTransports(way);
    const url = `http://127.0.0.1:${hivePort}`;
    const advice =
      `that hive was started with another key than ~/.rbee/secrets/hive.token of ${node} holds: ` +
      'end it there, and the queen starts one with that key, or start it with RBEE_HIVE_TOKEN_FILE naming that file';
    const transport = httpTransport({ ...way, name: 'rbee-hive', url });
    this.hive = { transport: keyedTransport(transport, this.#key, { node, advice, log }), clock };
    // The first listener: those of the link find everything reset.
    session.onLost(() => this.#closeTransports());
  }

  get ownsHive(): boolean {
    return this.#owned !== undefined;
  }

  workerAt(url: string): Target {
    return { transport: this.#workers.at(url), clock: this.#options.clock };
  }

  reach(narrate: Narrate, signal?: AbortSignal): Promise<void> {
    return this.#session.connect(narrate, signal);
  }

  onLost(listener: (reason: RbeeError) => void): () => void {
    return this.#session.onLost(listener);
  }

  async findHive(signal?: AbortSignal): Promise<HiveHealth | undefined> {
    await this.#session.connect(undefined, signal);
    const health = await this.#askHealth(this.#options.timeouts.hive_connect, signal);
    if (health && !this.#owned) await this.#claimUnanswered(signal);
    if (health?.pid !== undefined && this.#owned) {
      if (health.pid === this.#owned.pid) this.#ownedWasMet = true;
      else this.#disown();
    }
    return health;
  }

  startHive(narrate: Narrate): Promise<HiveHealth> {
    return this.#gate.start((signal) => this.#start(narrate, signal));
  }

  stopHive(narrate: Narrate): Promise<boolean> {
    const reason = new RbeeError('CANCELLED', `the hive of ${this.node} is being stopped`);
    return this.#gate.stop(reason, () => this.#stopOwned(narrate));
  }

  reset(): void {
    this.#closeTransports();
    this.#session.drop(
      new RbeeError(
        'SSH_CONNECTION_TIMEOUT',
        `the SSH connection to ${this.node} was dropped: nothing came back on it`,
        {
          details: { node: this.node },
          suggestion: 'check the network to the node',
        },
      ),
    );
  }

  async close(): Promise<void> {
    await this.#gate.close(new RbeeError('CANCELLED', 'the queen is shutting down'));
    this.hive.transport.close();
    this.#workers.close();
    await this.#session.close();
  }

  /** A connection that was lost took its streams along, and the node may have another key by the time of the next one. */
  #closeTransports(): void {
    this.hive.transport.close();
    this.#workers.reset();
    this.#key.forget();
  }

  async #askHealth(timeoutMs: number, signal: AbortSignal | undefined): Promise<HiveHealth | undefined> {
    const health = await askHealth(this.hive, { timeoutMs, signal });
    if (health || this.#session.connected) return health;
    // A stream that broke together with the connection says nothing about the hive.
    throw new RbeeError('CONNECTION_TIMEOUT', `the connection to ${this.node} broke off while its hive was asked`, {
      details: { node: this.node },
      suggestion: 'try again, and check the network to the node',
    });
  }

  async #start(narrate: Narrate, signal: AbortSignal): Promise<HiveHealth> {
    const { clock, log, timeouts, hivePort, ...rest } = this.#options;
    const startedAt = clock.monotonic();
    const say = (human: string, more: { duration_ms?: number } = {}) =>
      narrate({ actor: 'queen-rbee', action: 'hive_start', target: this.node, human, ...more });
    this.#launcher = await preflightMachine({ ...rest, clock, timeouts, narrate, signal });
    const launcher = this.#launcher;
    await this.#claimUnanswered(signal);
    await this.#endFormer(launcher);
    await this.#remote.provideKey(signal);
    this.#key.forget();
    say(`no hive answers on port ${hivePort} of ${this.node}: starting one`);
    signal.throwIfAborted();
    // Not broken off: only its answer tells which process there is to end.
    const hive = await this.#launch(launcher);
    log.info({ pid: hive.pid, node: this.node }, 'a hive was started');
    try {
      const health = await untilHealthy({
        ...{ node: this.node, hivePort, clock, timeouts, remote: this.#remote, hive, signal },
        askHealth: (timeoutMs) => this.#askHealth(timeoutMs, signal),
        isConnected: () => this.#session.connected,
      });
      if (health.pid !== undefined && health.pid !== hive.pid) {
        // Another hive got the port first; it is used, and stays when the queen ends, unless a lost launch of hers made it.
        say(`a hive answers already (pid ${health.pid}): using it`);
        await this.#remote.stop(launcher, hive, timeouts.kill);
        await this.#claimUnanswered(signal);
        return health;
      }
      this.#own(hive);
      const duration_ms = Math.round(clock.monotonic() - startedAt);
      say(`hive ${health.version} started (pid ${hive.pid}) in ${formatDuration(duration_ms)}`, { duration_ms });
      return health;
    } catch (error) {
      await this.#giveUp(launcher, hive);
      throw error;
    }
  }

  async #launch(launcher: readonly string[]): Promise<LaunchedHive> {
    const name = randomUUID();
    this.#unanswered.add(name);
    try {
      const hive = await this.#remote.launch(launcher, name);
      this.#unanswered.delete(name);
      return hive;
    } catch (error) {
      if (!isRbeeError(error) || !error.code.startsWith('SSH_')) this.#unanswered.delete(name);
      throw error;
    }
  }

  /** Owns what a launch made whose answer can be read only now. */
  async #claimUnanswered(signal?: AbortSignal): Promise<void> {
    for (const name of [...this.#unanswered]) {
      const hive = await this.#remote.answerOf(name, signal);
      if (!hive) continue;
      this.#unanswered.delete(name);
      this.#own(hive);
    }
  }

  /** An owned hive that no longer answers may still hang about; it must not be forgotten for the next one. */
  async #endFormer(launcher: readonly string[]): Promise<void> {
    if (!this.#owned) return;
    const { ended, killed } = await this.#remote.stop(launcher, this.#owned, this.#options.timeouts.kill);
    if (ended)
      this.#options.log.warn({ pid: this.#owned.pid, node: this.node, killed }, 'a hive that did not answer was ended');
    this.#disown();
  }

  /** Ends a hive that was started and is not going to be used. */
  async #giveUp(launcher: readonly string[], hive: LaunchedHive): Promise<void> {
    const { log, timeouts } = this.#options;
    try {
      await this.#reconnectBriefly();
      await this.#remote.stop(launcher, hive, timeouts.kill);
    } catch (error) {
      const { message } = error as Error;
      log.warn({ pid: hive.pid, node: this.node, reason: message }, 'a hive that was given up could not be ended');
    }
  }

  async #stopOwned(narrate: Narrate): Promise<boolean> {
    const { log, timeouts } = this.#options;
    await this.#claimLastly();
    const hive = this.#owned;
    // One that was never met since the queen was started is not worth a connection: it notices that nobody calls.
    if (!hive || !(this.#ownedWasMet || this.#session.connected)) return false;
    const say = (human: string, level: 'info' | 'warn' = 'info') =>
      narrate({ actor: 'queen-rbee', action: 'shutdown', target: this.node, human, level });
    say(`stopping the hive of ${this.node} (pid ${hive.pid})`);
    const limit = timeouts.queen_waits_for_hives;
    try {
      await this.#reconnectBriefly();
      const { ended, killed } = await this.#remote.stop(await this.#findLauncher(), hive, limit);
      this.#disown();
      if (killed) {
        log.warn(
          { pid: hive.pid, node: this.node, reason: 'shutdown took too long', signal: 'SIGKILL' },
          'a hive was killed',
        );
        say(`killed the hive (pid ${hive.pid}): it did not end within ${formatDuration(limit)}`, 'warn');
      }
      return ended;
    } catch (error) {
      if (!isRbeeError(error)) throw error;
      log.warn({ error, pid: hive.pid, node: this.node }, 'the hive of a node could not be stopped');
      const why = error.code === 'SSH_COMMAND_FAILED' ? 'the stop failed' : 'no connection';
      const patience = formatDuration(timeouts.owner_lost);
      say(`left the hive of ${this.node} (${why}): it ends by itself ${patience} after the last call`, 'warn');
      return false;
    }
  }

  /** The answer of a launch may have got lost just before the end. */
  async #claimLastly(): Promise<void> {
    if (this.#unanswered.size === 0) return;
    try {
      await this.#reconnectBriefly();
      await this.#claimUnanswered();
    } catch (error) {
      if (!isRbeeError(error)) throw error;
      this.#options.log.warn({ error, node: this.node }, 'a hive that may have been started cannot be looked for');
    }
  }

  /** One attempt: whoever shuts down does not wait for a machine that has gone. */
  async #reconnectBriefly(): Promise<void> {
    const { clock, timeouts } = this.#options;
    const abort = new AbortController();
    const cancel = clock.after(timeouts.ssh_connect, () =>
      abort.abort(
        new RbeeError('SSH_CONNECTION_TIMEOUT', `${this.node} cannot be reached within ${timeouts.ssh_connect} ms`, {
          details: { node: this.node, timeout_ms: timeouts.ssh_connect },
        }),
      ),
    );
    try {
      await this.#session.connect(undefined, abort.signal);
    } finally {
      cancel();
    }
  }

  /** As it was found for the last start; a queen that was started again has to look. */
  async #findLauncher(): Promise<readonly string[]> {
    const { clock, timeouts, hivePort: _port, ...rest } = this.#options;
    const { signal } = new AbortController();
    this.#launcher ??= await preflightMachine({ ...rest, clock, timeouts, narrate: () => undefined, signal });
    return this.#launcher;
  }

  #own({ pid, startTime }: OwnedHive): void {
    this.#owned = { pid, startTime };
    this.#ownedWasMet = true;
    this.#options.onOwned(this.#owned);
  }

  #disown(): void {
    this.#owned = undefined;
    this.#ownedWasMet = false;
    this.#options.onOwned(undefined);
  }
}
