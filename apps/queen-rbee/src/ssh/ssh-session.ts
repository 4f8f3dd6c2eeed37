import type { Duplex } from 'node:stream';
import { formatDuration, type Logger, type Narrate, orAborted, retry } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { Machine, RunOptions, RunResult, UploadOptions } from '../machine/machine.js';
import type { HostKeys } from './host-key.js';
import { SshConnection, type SshConnectionOptions } from './ssh-connection.js';
import { afterAttempts, whyNot } from './ssh-errors.js';

/** Waits before each attempt. */
const WAITS_MS = [0, 200, 400];

export interface SshSessionOptions extends Omit<SshConnectionOptions, 'hostKeys' | 'expectedFingerprint'> {
  /** Keys that were accepted before, asked for at each connection. */
  readonly hostKeys: () => HostKeys;
  /** Fingerprint that the node's host key must have. */
  readonly expectedFingerprint?: string | undefined;
  readonly log: Logger;
}

interface Told {
  readonly human: string;
  readonly level?: 'warn';
}

interface Connecting {
  readonly result: Promise<SshConnection>;
  readonly listeners: Set<Narrate>;
  /** What was told so far, for those who come later. */
  readonly told: Told[];
  readonly stop: AbortController;
  callers: number;
}

/** The way to a node over SSH: one connection that all share, made when it is needed and again after it was lost. */
export class SshSession implements Machine {
  readonly #options: SshSessionOptions;
  readonly #listeners = new Set<(reason: RbeeError) => void>();
  #connection: SshConnection | undefined;
  #connecting: Connecting | undefined;
  #closed: RbeeError | undefined;
  #seenHostKeys: HostKeys = {};

  constructor(options: SshSessionOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** Host keys of the newest connection, of the node and of the hosts that it is reached through. */
  get seenHostKeys(): HostKeys {
    return this.#seenHostKeys;
  }

  /**
   * Connects where no connection stands; up to three attempts when the machine does not answer, each told. Callers share
   * them; they end when the last caller has gone. Throws SSH_*, UNSUPPORTED_FIELD, or the signal's reason.
   */
  async connect(narrate?: Narrate, signal?: AbortSignal): Promise<void> {
    await this.#connected(narrate, signal);
  }

  /** Told when the connection broke; everything on it has failed by then. Returns how to stop listening. */
  onLost(listener: (reason: RbeeError) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Breaks the connection, if one stands, and every attempt at one. */
  drop(reason: RbeeError): void {
    this.#connecting?.stop.abort(reason);
    this.#connection?.end(reason);
  }

  /** Ends the connection for good; nobody is told. */
  async close(): Promise<void> {
    const { node } = this.#options;
    this.#closed ??= new RbeeError('CANCELLED', `the connection to ${node} was closed`, { details: { node } });
    this.#listeners.clear();
    const connecting = this.#connecting;
    this.drop(this.#closed);
    await connecting?.result.catch(() => undefined);
  }

  async run(script: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
    const connection = await this.#connected(undefined, options.signal);
    return connection.run(script, args, options);
  }

  async upload(source: Buffer | { readonly path: string }, target: string, options: UploadOptions): Promise<void> {
    const connection = await this.#connected(undefined, options.signal);
    return connection.upload(source, target, options);
  }

  async openSocket(address: { readonly host: string; readonly port: number }): Promise<Duplex> {
    const connection = await this.#connected();
    return connection.openSocket(address);
  }

  async #connected(narrate?: Narrate, signal?: AbortSignal): Promise<SshConnection> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closed;
    if (this.#connection) return this.#connection;
    this.#connecting ??= this.#begin();
    const connecting = this.#connecting;
    if (narrate) {
      connecting.listeners.add(narrate);
      this.#say(narrate, { human: `checking SSH access to ${this.#options.address.host}` });
      for (const told of connecting.told) this.#say(narrate, told);
    }
    connecting.callers++;
    try {
      return await (signal ? orAborted(connecting.result, signal) : connecting.result);
    } finally {
      if (narrate) connecting.listeners.delete(narrate);
      connecting.callers--;
      if (connecting.callers === 0) this.#abandon(connecting, signal?.reason);
    }
  }

  #begin(): Connecting {
    const stop = new AbortController();
    const listeners = new Set<Narrate>();
    const told: Told[] = [];
    const tell = (news: Told) => {
      told.push(news);
      for (const narrate of listeners) this.#say(narrate, news);
    };
    const result = this.#attempts(tell, stop.signal);
    const connecting: Connecting = { result, listeners, told, stop, callers: 0 };
    // Every caller may have gone by the time that it fails.
    result.catch(() => undefined).finally(() => this.#abandon(connecting, undefined));
    return connecting;
  }

  /** Nobody waits for it any more: whoever comes next begins anew. */
  #abandon(connecting: Connecting, reason: unknown): void {
    if (this.#connecting === connecting) this.#connecting = undefined;
    connecting.stop.abort(reason);
  }

  async #attempts(tell: (news: Told) => void, signal: AbortSignal): Promise<SshConnection> {
    const { node, address, clock, variables, hostKeys, expectedFingerprint, log } = this.#options;
    let attempts = 0;
    const policy = {
      waits: WAITS_MS,
      isRetryable: mayPass,
      onRetry: (attempt: number, waitMs: number, error: unknown) => {
        const why = whyNot(error as RbeeError);
        const { host, port, timeout_ms } = (error as RbeeError).details;
        const limit = formatDuration(Number(timeout_ms));
        const human = `attempt ${attempt}/${WAITS_MS.length} after ${waitMs} ms: ${why} (${host}:${port}, limit ${limit})`;
        log.warn({ node, host, port, timeout_ms, attempt, wait_ms: waitMs, error }, 'no SSH connection');
        tell({ human, level: 'warn' });
      },
    };
    const startedAt = clock.monotonic();
    try {
      const connection = await retry(policy, { clock, variables, signal }, () => {
        attempts++;
        const keys = { hostKeys: hostKeys(), expectedFingerprint };
        return SshConnection.open({ ...this.#options, ...keys }, signal);
      });
      if (signal.aborted) {
        connection.end(signal.reason);
        throw signal.reason;
      }
      log.info(
        { node, host: address.host, duration_ms: Math.round(clock.monotonic() - startedAt) },
        'an SSH connection stands',
      );
      this.#keep(connection);
      return connection;
    } catch (error) {
      throw mayPass(error) ? afterAttempts(error as RbeeError, attempts) : error;
    }
  }

  #keep(connection: SshConnection): void {
    this.#connection = connection;
    this.#seenHostKeys = connection.hostKeys;
    const lost = () => {
      const reason = connection.lost.reason as RbeeError;
      this.#connection = undefined;
      const { log, node } = this.#options;
      if (reason.code === 'CANCELLED') log.debug({ node }, 'an SSH connection was closed');
      else log.warn({ node, error: reason }, 'an SSH connection has ended');
      for (const listener of [...this.#listeners]) listener(reason);
    };
    if (connection.lost.aborted) lost();
    else connection.lost.addEventListener('abort', lost, { once: true });
  }

  #say(narrate: Narrate, told: Told): void {
    narrate({ actor: 'queen-rbee', action: 'ssh_check', target: this.#options.node, ...told });
  }
}

/** Whether another attempt may succeed: the machine did not answer. */
function mayPass(error: unknown): boolean {
  return isRbeeError(error) && error.code === 'SSH_CONNECTION_TIMEOUT' && error.retryable;
}
