import {
  httpTransport,
  identify,
  type ProcessIdentity,
  readSecretFile,
  retry,
  signalProcess,
  type Target,
} from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import type { GlobalOptions } from '../global-options.js';
import type { KeeperEnvironment } from '../keeper-environment.js';
import type { Output } from '../output.js';
import type { KeeperSettings } from '../settings.js';
import { type Probe, probeQueen, type QueenHealth } from './probe-queen.js';
import { type QueenAddress, toQueenAddress } from './queen-address.js';
import { startQueen } from './start-queen.js';
import { waitForEnd } from './wait-for-end.js';

export interface QueenSurroundings {
  readonly env: KeeperEnvironment;
  readonly globals: GlobalOptions;
  readonly output: Output;
  readonly settings: KeeperSettings;
  /** Aborted when the user gives up. */
  readonly signal: AbortSignal;
}

/** A queen that answers. */
export interface FoundQueen {
  readonly health: QueenHealth;
  /** Its process, when that is on this machine. */
  readonly process: ProcessIdentity | undefined;
  /** Whether this run started it: then it is this run's to kill if it does not end. */
  readonly startedHere: boolean;
}

/** Finds, starts and stops the process of the queen at the configured address. */
export class QueenControl {
  readonly surroundings: QueenSurroundings;
  readonly address: QueenAddress;
  readonly target: Target;

  constructor(surroundings: QueenSurroundings) {
    const { apiTokenFile } = surroundings.settings;
    this.surroundings = surroundings;
    this.address = toQueenAddress(surroundings.settings.queenUrl);
    this.target = {
      transport: httpTransport({ name: 'queen-rbee', url: this.address.url }),
      clock: surroundings.env.clock,
      key: apiTokenFile === undefined ? undefined : readSecretFile(apiTokenFile),
    };
  }

  /** Asks whether a queen answers, with the patience of a first look unless told otherwise. */
  probe(timeoutMs = this.surroundings.settings.queen_probe): Promise<Probe> {
    return probeQueen(this.target, timeoutMs);
  }

  /** The queen that answers, if one does. */
  async findRunning(): Promise<FoundQueen | undefined> {
    const probe = await this.probe();
    return probe.state === 'up' ? this.#describe(probe.health) : undefined;
  }

  /** The queen that answers, or one that is started now. Throws QUEEN_UNREACHABLE or QUEEN_START_FAILED. */
  async find(): Promise<FoundQueen> {
    const running = await this.findRunning();
    if (running) return running;
    if (this.surroundings.globals['no-spawn'] || !this.address.isLocal) return this.#insist();
    const { output, settings } = this.surroundings;
    output.say('rbee-keeper', `starting queen-rbee on port ${this.address.port}`);
    return this.start({ ephemeral: true, keepAliveMs: settings.keepAlive });
  }

  /** Starts a queen and waits until one answers: it, or the one of another keeper that was faster. */
  async start(how: { ephemeral: boolean; keepAliveMs?: number }): Promise<FoundQueen> {
    const { health, child } = await startQueen(this, how);
    if (child && (health.pid === undefined || health.pid === child.pid)) {
      return { health, process: child, startedHere: true };
    }
    return this.#describe(health);
  }

  /** Sends SIGTERM to the queen and waits until it has gone. `undefined` when none runs; throws when it is elsewhere or stays. */
  async stop(): Promise<{ pid: number } | undefined> {
    const probe = await this.probe();
    if (probe.state === 'absent') return undefined;
    const { health, process } = probe.state === 'up' ? this.#describe(probe.health) : {};
    if (!process || !health) {
      throw new RbeeError('QUEEN_UNREACHABLE', `the queen at ${this.address.url} cannot be stopped from here`, {
        details: {
          url: this.address.url,
          pid: health?.pid,
          cause: health ? 'it runs on another machine' : 'it does not answer',
        },
        suggestion: 'end its process on the machine where it runs: kill <pid>',
      });
    }
    signalProcess(process, 'SIGTERM');
    const { env, settings, signal } = this.surroundings;
    if (await waitForEnd(process, env.clock, settings.keeper_waits_for_queen, signal)) return { pid: process.pid };
    throw new RbeeError('QUEEN_UNREACHABLE', `queen-rbee (pid ${process.pid}) still runs`, {
      details: { pid: process.pid, timeout_ms: settings.keeper_waits_for_queen },
      suggestion: `end it by force: kill -9 ${process.pid}; what it started may then remain`,
    });
  }

  /** Closes idle connections. */
  close(): void {
    this.target.transport.close();
  }

  #describe(health: QueenHealth): FoundQueen {
    const isHere = this.address.isLocal && health.pid !== undefined;
    return { health, process: isHere ? identify(health.pid as number) : undefined, startedHere: false };
  }

  async #insist(): Promise<FoundQueen> {
    const { env, signal } = this.surroundings;
    const policy = { waits: [0, 100, 200], isRetryable: (error: unknown) => error === MISSING };
    try {
      return await retry(policy, { clock: env.clock, variables: env.variables, signal }, async () => {
        const running = await this.findRunning();
        if (running) return running;
        throw MISSING;
      });
    } catch (error) {
      throw error === MISSING ? toAbsenceError(this.address) : error;
    }
  }
}

const MISSING = new Error('no queen');

function toAbsenceError({ url, isLocal }: QueenAddress): RbeeError {
  return new RbeeError('QUEEN_UNREACHABLE', `no queen answers at ${url}`, {
    details: { url },
    suggestion: isLocal
      ? 'start one: rbee-keeper queen start'
      : 'start it on its own machine: rbee-keeper queen start, or check --queen-url',
  });
}
