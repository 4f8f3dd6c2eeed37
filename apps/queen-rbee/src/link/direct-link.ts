import {
  type Clock,
  httpTransport,
  type Logger,
  type Narrate,
  type Secret,
  type Target,
  type Timeouts,
} from '@rbee/daemon-kit';
import { type LinkKind, RbeeError } from '@rbee/protocol';
import { askHealth } from './ask-health.js';
import { attemptHive } from './connect-hive.js';
import { keyedTransport, LearnedKey } from './keyed-transport.js';
import type { HiveHealth, Link } from './link.js';
import { StartGate } from './start-gate.js';
import { WorkerTransports } from './worker-transports.js';

/** Host of an address that means the machine itself. */
const LOCAL = /^(localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])$/;

export interface DirectLinkOptions {
  readonly node: string;
  /** Address of the hive. */
  readonly url: string;
  /** Reads the hive's key, each time it is needed anew; `undefined`: it has none. */
  readonly readKey: () => Secret | undefined;
  /** What to check when the hive refuses the key; left out: the file that the node was registered with. */
  readonly keyAdvice?: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** The link to a hive that somebody else started and that listens on an address of the network. */
export class DirectLink implements Link {
  readonly kind: LinkKind = 'direct';
  readonly node: string;
  readonly hive: Target;
  readonly ownsHive = false;
  readonly #options: DirectLinkOptions;
  readonly #key: LearnedKey;
  readonly #workers: WorkerTransports;
  readonly #gate = new StartGate<HiveHealth>();

  constructor(options: DirectLinkOptions) {
    const { node, url, readKey, clock, timeouts, log } = options;
    this.#options = options;
    this.node = node;
    const way = { connectTimeoutMs: timeouts.connect };
    this.#workers = new WorkerTransports(way);
    this.#key = new LearnedKey(async () => readKey());
    const advice =
      options.keyAdvice ??
      `give the node the key that this hive was started with: rbee-keeper setup update-node --name ${node} --hive-token-file FILE`;
    const transport = httpTransport({ ...way, name: 'rbee-hive', url });
    this.hive = { transport: keyedTransport(transport, this.#key, { node, advice, log }), clock };
  }

  /**
   * A worker that names the loopback address, or every address, of its machine is reached where the hive is; unless the
   * hive is on this machine, where loopback addresses are what they say.
   */
  workerAt(url: string): Target {
    const address = new URL(url);
    const { hostname } = new URL(this.#options.url);
    if (LOCAL.test(address.hostname) && !LOCAL.test(hostname)) address.hostname = hostname;
    return { transport: this.#workers.at(address.origin), clock: this.#options.clock };
  }

  async reach(_narrate: Narrate, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
  }

  onLost(): () => void {
    return () => undefined;
  }

  findHive(signal?: AbortSignal): Promise<HiveHealth | undefined> {
    return askHealth(this.hive, { timeoutMs: this.#options.timeouts.hive_connect, signal });
  }

  /** Nothing can be started from here: looks a few times more whether the hive comes by itself. */
  startHive(narrate: Narrate): Promise<HiveHealth> {
    return this.#gate.start((signal) =>
      attemptHive(this, narrate, { ...this.#options, signal }, async (attemptSignal) => {
        const health = await this.findHive(attemptSignal);
        if (health) return health;
        throw new RbeeError('CONNECTION_TIMEOUT', `the hive of ${this.node} refuses the connection`, {
          details: { node: this.node, cause: 'ECONNREFUSED' },
        });
      }),
    );
  }

  async stopHive(): Promise<boolean> {
    return false;
  }

  reset(): void {
    this.hive.transport.close();
    this.#workers.reset();
    this.#key.forget();
  }

  async close(): Promise<void> {
    await this.#gate.close(new RbeeError('CANCELLED', 'the queen is shutting down'));
    this.hive.transport.close();
    this.#workers.close();
  }
}
