import { connect as connectTcp } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, orAborted, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, type RbeeError } from '@rbee/protocol';
import type { Machine, RunOptions, RunResult, UploadOptions } from '../machine/machine.js';
import { gatherCredentials } from './credentials.js';
import { Hop } from './hop.js';
import type { HostKeys } from './host-key.js';
import { hostId } from './known-hosts.js';
import { runScript } from './run-script.js';
import type { SshAddress } from './ssh-address.js';
import { type Destination, resolveDestination } from './ssh-config.js';
import { notConnected, toConnectError } from './ssh-errors.js';
import { uploadFile } from './upload-file.js';

/**
 * sshd allows 10 sessions on one connection unless it is told otherwise (MaxSessions), and one that has just ended may
 * still count beside the one that follows it. Forwarded connections do not count.
 */
const MOST_SESSIONS = 5;

export interface SshConnectionOptions {
  /** Name of the node, for messages. */
  readonly node: string;
  readonly address: SshAddress;
  /** Keys that were accepted before. */
  readonly hostKeys: HostKeys;
  readonly expectedFingerprint: string | undefined;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly user: string;
}

/** One connection to a node, through as many hosts as it takes. It is not made again when it has ended. */
export class SshConnection implements Machine {
  readonly #hops: readonly Hop[];
  readonly #last: Hop;
  readonly #clock: Clock;
  #sessions = 0;
  readonly #waiting: (() => void)[] = [];

  private constructor(hops: readonly Hop[], last: Hop, clock: Clock) {
    this.#hops = hops;
    this.#last = last;
    this.#clock = clock;
    // A host in between that is lost takes along what goes through it, and with the last one nobody needs the others.
    for (const hop of hops) hop.lost.addEventListener('abort', () => this.end(hop.lost.reason), { once: true });
  }

  /**
   * Connects, within `timeouts.ssh_connect` from reading ssh_config to being let in. Throws SSH_*, UNSUPPORTED_FIELD,
   * or the signal's reason.
   */
  static async open(options: SshConnectionOptions, signal?: AbortSignal): Promise<SshConnection> {
    const { clock, timeouts, address } = options;
    const stop = new AbortController();
    let peer = { host: address.host, port: address.port ?? 22 };
    const cancel = clock.after(timeouts.ssh_connect, () =>
      stop.abort(notConnected(peer, 'ETIMEDOUT', timeouts.ssh_connect)),
    );
    const abort = () => stop.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', abort, { once: true });
    const hops: Hop[] = [];
    try {
      const target = await orAborted(resolveDestination(address, options), stop.signal);
      for (const destination of [...target.jumps, target]) {
        peer = destination;
        const isTarget = destination === target;
        hops.push(await openHop(hops.at(-1), destination, options, isTarget, stop.signal));
      }
      return new SshConnection(hops, hops.at(-1) as Hop, clock);
    } catch (error) {
      for (const hop of hops) hop.end(error as RbeeError);
      throw error;
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Aborted with the reason when the connection has ended. */
  get lost(): AbortSignal {
    return this.#last.lost;
  }

  /** The host keys of all hosts that it goes through. */
  get hostKeys(): HostKeys {
    const entries = this.#hops.map(({ destination: { host, port }, hostKey }) => [hostId(host, port), hostKey]);
    return Object.fromEntries(entries);
  }

  async run(script: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
    return this.#inSession(() => runScript(this.#last, this.#clock, script, args, options));
  }

  async upload(source: Buffer | { readonly path: string }, target: string, options: UploadOptions): Promise<void> {
    return this.#inSession(() => uploadFile(this.#last, source, target, options));
  }

  openSocket({ host, port }: { readonly host: string; readonly port: number }): Promise<Duplex> {
    return this.#last.forward(host, port);
  }

  /** Ends the connection; everything on it fails with the reason. */
  end(reason: RbeeError): void {
    for (const hop of [...this.#hops].reverse()) hop.end(reason);
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Lets only so many sessions be open at once; the others wait for their turn. */
  async #inSession<T>(work: () => Promise<T>): Promise<T> {
    while (this.#sessions >= MOST_SESSIONS && !this.lost.aborted) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.lost.throwIfAborted();
    this.#sessions++;
    try {
      return await work();
    } finally {
      this.#sessions--;
      this.#waiting.shift()?.();
    }
  }
}

async function openHop(
  through: Hop | undefined,
  destination: Destination,
  options: SshConnectionOptions,
  isTarget: boolean,
  signal: AbortSignal,
): Promise<Hop> {
  const { node, hostKeys, clock, timeouts } = options;
  // A missing key is told before anybody is bothered.
  const credentials = await orAborted(gatherCredentials(destination), signal);
  const open = () => openStream(through, destination, timeouts.ssh_connect, signal);
  const hopOptions = {
    node,
    destination,
    credentials,
    pinned: hostKeys[hostId(destination.host, destination.port)],
    // Once the hosts on the way to a node are known, another one is not met for the first time but put in their place.
    isRegistered: Object.keys(hostKeys).length > 0,
    isTarget,
    expectedFingerprint: isTarget ? options.expectedFingerprint : undefined,
    clock,
    connectTimeoutMs: timeouts.ssh_connect,
    keepAliveMs: timeouts.ssh_keep_alive,
  };
  return openWithAnyKey((skippedTypes) => Hop.open(open, { ...hopOptions, skippedTypes }, signal));
}

/**
 * A fingerprint does not tell the type of its key, and a host shows one of its keys: when that is another one than the
 * expected, it is asked for its others before it is refused.
 */
async function openWithAnyKey(open: (skippedTypes: readonly string[]) => Promise<Hop>): Promise<Hop> {
  const skippedTypes: string[] = [];
  let first: unknown;
  for (;;) {
    try {
      return await open(skippedTypes);
    } catch (error) {
      first ??= error;
      const { source, key_type } = isRbeeError(error) ? error.details : {};
      if (source !== 'given' || typeof key_type !== 'string') throw first;
      skippedTypes.push(key_type);
    }
  }
}

async function openStream(
  through: Hop | undefined,
  destination: Destination,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Duplex> {
  const { host, port } = destination;
  try {
    if (through) return await orAborted(through.forward(host, port), signal);
    return await openTcp(host, port, signal);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw toConnectError(destination, timeoutMs, error);
  }
}

function openTcp(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, noDelay: true });
    const settle = (error?: unknown) => {
      signal.removeEventListener('abort', abort);
      socket.removeListener('error', settle);
      if (error === undefined) return resolve(socket);
      socket.on('error', () => undefined);
      socket.destroy();
      reject(error);
    };
    const abort = () => settle(signal.reason);
    if (signal.aborted) return settle(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', settle);
    socket.once('connect', () => settle());
  });
}
