import { isRunning, type ProcessIdentity, signalProcess, sleep } from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import { isEnding, type Lease, takeLease } from './lease.js';
import { checkVersion, type QueenHealth } from './probe-queen.js';
import type { FoundQueen, QueenControl } from './queen-control.js';
import { waitForEnd } from './wait-for-end.js';

/** How often a queen may end between our finding it and our lease on it. */
const ATTEMPTS = 5;
const TELL_AFTER_MS = 1000;
const KILLED_GONE_MS = 5000;

/**
 * A queen that stays for as long as the session lasts. A queen that is just ending is waited for and replaced. On `close`
 * a queen that ends with its last lease is waited for; only one that this run started is ever killed.
 */
export class QueenSession {
  readonly #control: QueenControl;
  readonly #lease: Lease;
  readonly #process: ProcessIdentity | undefined;
  #startedHere: boolean;
  #closed = false;

  private constructor(control: QueenControl, lease: Lease, { process, startedHere }: FoundQueen) {
    this.#control = control;
    this.#lease = lease;
    this.#process = process;
    this.#startedHere = startedHere;
  }

  /** Finds or starts a queen and takes a lease on it. Throws QUEEN_*, VERSION_MISMATCH, or the signal's reason. */
  static async open(control: QueenControl): Promise<QueenSession> {
    return (await QueenSession.#take(control, () => control.find())) as QueenSession;
  }

  /** The same with a queen that runs; `undefined` where none does. */
  static openIfRunning(control: QueenControl): Promise<QueenSession | undefined> {
    return QueenSession.#take(control, () => control.findRunning());
  }

  static async #take(
    control: QueenControl,
    find: () => Promise<FoundQueen | undefined>,
  ): Promise<QueenSession | undefined> {
    const { settings, signal } = control.surroundings;
    let last: unknown;
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      signal.throwIfAborted();
      const found = await find();
      if (!found) return undefined;
      checkVersion(found.health);
      try {
        const session = new QueenSession(control, await takeLease(control.target, settings.call), found);
        if (!signal.aborted) return session;
        await session.close();
      } catch (error) {
        if (!isEnding(error)) throw error;
        last = error;
        await waitUntilReplaceable(control, found);
      }
    }
    signal.throwIfAborted();
    throw new RbeeError('QUEEN_UNREACHABLE', `queen-rbee ended ${ATTEMPTS} times before it could be used`, {
      details: { url: control.address.url, attempts: ATTEMPTS },
      suggestion: 'try again, or start one that stays: rbee-keeper queen start',
      cause: last,
    });
  }

  /** Whether the queen ends with the last of those who use it, together with what it started. */
  get isEphemeral(): boolean {
    return this.#lease.ephemeral;
  }

  /** Aborted when the queen is lost; the session must then be closed and another one opened. */
  get lost(): AbortSignal {
    return this.#lease.lost;
  }

  /** Whether the queen's process still runs, as far as that can be seen from here. */
  get isRunning(): boolean {
    return this.#process !== undefined && isRunning(this.#process);
  }

  /** Whether the queen that says this about itself is the one that gave the lease. */
  isWith(health: QueenHealth): boolean {
    return health.pid === undefined || health.pid === this.#lease.pid;
  }

  /** Takes the place of a session whose queen was lost. A queen that this run started stays its own to see off. */
  replace(previous: QueenSession): void {
    previous.#closed = true;
    previous.#lease.drop();
    if (previous.#startedHere && previous.#lease.pid === this.#lease.pid) this.#startedHere = true;
  }

  /** Gives the queen back and waits for its end if it is its time. A user who gives up here is not kept waiting. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const ending = await this.#lease.release().catch(() => this.#startedHere);
    if (ending && this.#process) await this.#seeOff(this.#process);
  }

  async #seeOff(process: ProcessIdentity): Promise<void> {
    const { env, output, settings, signal } = this.#control.surroundings;
    const { clock } = env;
    const limitMs = settings.keeper_waits_for_queen;
    const stopTelling = clock.after(TELL_AFTER_MS, () =>
      output.say('rbee-keeper', `waiting for queen-rbee (pid ${process.pid}) and what it started to end`),
    );
    try {
      // After Ctrl+C the wait goes on, and the next Ctrl+C ends the program; without one, the first ends the wait.
      const patience = signal.aborted ? new AbortController().signal : signal;
      if (await waitForEnd(process, clock, limitMs, patience)) return;
    } catch (error) {
      if (error !== signal.reason) throw error;
      return;
    } finally {
      stopTelling();
    }
    if (!this.#startedHere) {
      output.say('rbee-keeper', `queen-rbee (pid ${process.pid}) still runs after ${limitMs} ms`, 'warn');
      return;
    }
    signalProcess(process, 'SIGKILL');
    await waitForEnd(process, clock, KILLED_GONE_MS, new AbortController().signal);
    const what = `queen-rbee (pid ${process.pid}) did not end within ${limitMs} ms and was killed`;
    output.say('rbee-keeper', `${what}: processes that it started may remain`, 'warn');
  }
}

async function waitUntilReplaceable(control: QueenControl, found: FoundQueen): Promise<void> {
  const { env, output, settings, signal } = control.surroundings;
  if (!found.process) return sleep(env.clock, settings.queen_probe, signal);
  output.say('rbee-keeper', `waiting for queen-rbee (pid ${found.process.pid}), which is ending`);
  if (await waitForEnd(found.process, env.clock, settings.keeper_waits_for_queen, signal)) return;
  throw new RbeeError(
    'QUEEN_UNREACHABLE',
    `queen-rbee (pid ${found.process.pid}) is ending and does not come to its end`,
    {
      details: { pid: found.process.pid, timeout_ms: settings.keeper_waits_for_queen },
      suggestion: `end it by force: kill -9 ${found.process.pid}`,
    },
  );
}
