import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { type Clock, orAborted } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import type { Config } from 'node-ssh';
import type { Client, ClientChannel, SFTPWrapper } from 'ssh2';
import { chooseAlgorithms } from './algorithms.js';
import type { Credentials } from './credentials.js';
import { ForwardedSocket } from './forwarded-socket.js';
import { knownTypes, refuseHostKey, toHostKey } from './host-key.js';
import { readKnownKeys } from './known-hosts.js';
import type { Destination } from './ssh-config.js';
import { brokeOff, forwardingDenied, noSession, notLetIn, toConnectError } from './ssh-errors.js';

/** Reasons of RFC 4254, section 5.1, for which a channel is not opened. */
const PROHIBITED = 1;
const CONNECT_FAILED = 2;

/** A host is asked for this many signs of life before it counts as lost. */
const SIGNS_MISSED = 3;
const LOOKS_PER_SIGN = 6;

export interface HopOptions {
  /** Name of the node that the connection belongs to. */
  readonly node: string;
  readonly destination: Destination;
  /** Keys to try. */
  readonly credentials: Credentials;
  /** Whether it is the node itself, and none of the hosts on the way to it. */
  readonly isTarget: boolean;
  readonly pinned: string | undefined;
  /** Whether keys of the node, or of hosts on the way to it, were accepted before; a host that nothing is known of is refused then. */
  readonly isRegistered: boolean;
  readonly expectedFingerprint: string | undefined;
  /** Types of host keys that are not asked for. */
  readonly skippedTypes: readonly string[];
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  /** How often the other side is asked for a sign of life. */
  readonly keepAliveMs: number;
}

/** One host that lets us in: the SSH protocol over one byte stream. */
export class Hop {
  readonly destination: Destination;
  /** As `<type> <base64>`. */
  readonly hostKey: string;
  readonly client: Client;
  readonly #options: HopOptions;
  readonly #stream: Duplex;
  readonly #lost = new AbortController();
  readonly #sockets = new Set<Duplex>();

  private constructor(client: Client, hostKey: string, stream: Duplex, options: HopOptions) {
    this.client = client;
    this.hostKey = hostKey;
    this.destination = options.destination;
    this.#options = options;
    this.#stream = stream;
    setMaxListeners(0, this.#lost.signal);
    this.#watch();
  }

  /**
   * Opens the stream, shakes hands and authenticates. Throws SSH_HOST_KEY_CHANGED, SSH_AUTH_FAILED, UNSUPPORTED_FIELD,
   * SSH_CONNECTION_TIMEOUT, or the signal's reason; the stream is destroyed then.
   */
  static async open(openStream: () => Promise<Duplex>, options: HopOptions, signal: AbortSignal): Promise<Hop> {
    const { destination, credentials, pinned, skippedTypes, connectTimeoutMs } = options;
    const { host, port, user } = destination;
    const knownHostsOnly = destination.knownHostsOnly || options.isRegistered;
    const { NodeSSH } = await import('node-ssh');
    const known = await readKnownKeys(destination.knownHostsFiles, host, port);
    const algorithms = chooseAlgorithms(destination.algorithms, knownTypes({ known, pinned }), skippedTypes);
    let hostKey = '';
    let refused: RbeeError | undefined;
    const tried: string[] = [];
    const untried = [...credentials.list];
    // Nothing may be waited for between this and the handshake, or what the other side does meanwhile is missed.
    const stream = await openStream();
    const config: Config = {
      sock: stream,
      username: user,
      // One limit holds for everything from the name look-up on; it is the caller's.
      readyTimeout: 0,
      keepaliveInterval: options.keepAliveMs,
      // Whether the other side lives is judged by everything that comes from it, see below.
      keepaliveCountMax: Number.POSITIVE_INFINITY,
      algorithms,
      hostVerifier: (blob: Buffer): boolean => {
        hostKey = toHostKey(blob);
        refused = refuseHostKey({ ...options, host, port, offered: hostKey, known, knownHostsOnly });
        return refused === undefined;
      },
      authHandler: (_left, _partial, next) => {
        const credential = untried.shift();
        if (!credential) return next(false as never);
        tried.push(credential.label);
        next(credential.method);
      },
    };
    const ssh = new NodeSSH();
    try {
      const connecting = ssh.connect(config);
      // It also ends with errors after which the next key is tried; what counts is told below.
      connecting.catch(() => undefined);
      const client = ssh.connection;
      if (!client) throw await connecting.then(() => new Error('there is no connection'));
      const ready = new Promise<void>((resolve, reject) => {
        client.on('ready', resolve);
        client.on('error', (error) => (isAboutAgent(error) ? undefined : reject(error)));
        client.on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
      });
      await orAborted(ready, signal);
      return new Hop(client, hostKey, stream, options);
    } catch (error) {
      stream.destroy();
      if (refused) throw refused;
      if (signal.aborted) throw signal.reason;
      if (isAboutKeys(error)) throw notLetIn(destination, tried, credentials.notes);
      throw toConnectError(destination, connectTimeoutMs, error);
    }
  }

  /** Aborted when the connection has ended, with the reason. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Starts a command. Throws SSH_COMMAND_FAILED when the host opens no session for it. */
  exec(command: string): Promise<ClientChannel> {
    return this.#open<ClientChannel>((done) => this.client.exec(command, done)).catch((error: unknown) => {
      throw this.lost.aborted ? this.lost.reason : noSession(this.destination, error);
    });
  }

  sftp(): Promise<SFTPWrapper> {
    return this.#open((done) => this.client.sftp(done));
  }

  /** Opens a stream to an address as that host sees it. See `Machine.openSocket` for how it fails. */
  async forward(host: string, port: number): Promise<Duplex> {
    const channel = await this.#open<ClientChannel>((done) =>
      this.client.forwardOut('127.0.0.1', 0, host, port, done),
    ).catch((error: Error & { reason?: unknown }) => {
      if (error.reason === PROHIBITED) throw forwardingDenied(this.destination, error);
      if (error.reason !== CONNECT_FAILED) throw error;
      throw Object.assign(new Error(`${host}:${port} refused the connection`, { cause: error }), {
        code: 'ECONNREFUSED',
      });
    });
    const socket = new ForwardedSocket(channel);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** Ends the connection; everything on it fails with the reason. */
  end(reason: RbeeError): void {
    if (this.#lost.signal.aborted) return;
    this.#lost.abort(reason);
    for (const socket of this.#sockets) socket.destroy(reason);
    this.client.end();
    // A dead host answers no goodbye.
    this.#stream.destroy();
  }

  #open<T>(open: (done: (error: Error | undefined, opened: T) => void) => unknown): Promise<T> {
    const opening = new Promise<T>((resolve, reject) => {
      this.#lost.signal.throwIfAborted();
      open((error, opened) => (error ? reject(error) : resolve(opened)));
    });
    return orAborted(opening, this.#lost.signal);
  }

  #watch(): void {
    const { node, destination, clock, keepAliveMs } = this.#options;
    let missed = 0;
    // Anything that comes is a sign of life: an answer to a sign that was asked for may queue behind a long transfer.
    this.#stream.on('data', () => {
      missed = 0;
    });
    // Looks are counted instead of time, so that a pause of this process is not taken for one of the other side.
    const stop = clock.every(keepAliveMs / LOOKS_PER_SIGN, () => {
      if (++missed < SIGNS_MISSED * LOOKS_PER_SIGN) return;
      this.end(brokeOff(node, destination, 'ETIMEDOUT', SIGNS_MISSED * keepAliveMs));
    });
    this.#lost.signal.addEventListener('abort', stop, { once: true });
    const broke = (cause: string) => this.end(brokeOff(node, destination, cause));
    this.client.on('error', (error: NodeJS.ErrnoException) =>
      broke(typeof error.code === 'string' ? error.code : error.message),
    );
    this.client.on('end', () => broke('CLOSED'));
    this.client.on('close', () => broke('CLOSED'));
  }
}

/** Trouble with the agent, after which the next key is tried. */
function isAboutAgent(error: unknown): boolean {
  return (error as { level?: string }).level === 'agent';
}

/** Every key was refused, or sshd did not want to see any more of them. */
function isAboutKeys(error: unknown): boolean {
  const { level, message } = error as { level?: string; message: string };
  return level === 'client-authentication' || /too many authentication failures/i.test(message);
}
