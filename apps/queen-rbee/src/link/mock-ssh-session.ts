import { execFile } from 'node:child_process';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, formatDuration, type Narrate, retry, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { RunOptions, RunResult, UploadOptions } from '../machine/machine.js';
import type { HostKeys } from '../ssh/host-key.js';
import { REMOTE_SHELL, readScriptPid, shellInput } from '../ssh/quote.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import { afterAttempts, notConnected, whyNot } from '../ssh/ssh-errors.js';
import type { RemoteSession } from './remote-session.js';

const WAITS_MS = [0, 200, 400] as const;
const DEFAULT_SSH_PORT = 22;
const KEPT_BYTES = 64 * 1024;

export interface MockSshSessionOptions {
  readonly address: SshAddress;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY; also the environment of what is run. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/**
 * A simulated SSH connection for tests without a server: a host whose name contains "unreachable" cannot be reached, and
 * any other one is this machine. It shows no host key.
 */
export class MockSshSession implements RemoteSession {
  readonly seenHostKeys: HostKeys = {};
  readonly #options: MockSshSessionOptions;
  #connected = false;

  constructor(options: MockSshSessionOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#connected;
  }

  async connect(narrate?: Narrate, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#connected) return;
    const { address, clock, timeouts, variables } = this.#options;
    const peer = { host: address.host, port: address.port ?? DEFAULT_SSH_PORT };
    const say = (human: string, level: 'info' | 'warn') =>
      narrate?.({ actor: 'queen-rbee', action: 'ssh_check', target: address.host, human, level });
    say(`checking SSH access to ${peer.host}`, 'info');
    let attempts = 1;
    const limit = timeouts.ssh_connect;
    const policy = {
      waits: WAITS_MS,
      isRetryable,
      onRetry: (number: number, waitMs: number, error: unknown) => {
        attempts = number;
        const why = isRetryable(error) ? whyNot(error) : 'failed';
        const place = `${peer.host}, port ${peer.port}, timeout ${formatDuration(limit)}`;
        say(`attempt ${number}/${WAITS_MS.length} after ${waitMs} ms: ${why} (${place})`, 'warn');
      },
    };
    try {
      await retry(policy, { clock, variables, signal }, async () => {
        if (peer.host.includes('unreachable')) throw notConnected(peer, 'ETIMEDOUT', limit);
      });
    } catch (error) {
      throw isRetryable(error) ? afterAttempts(error, attempts) : error;
    }
    this.#connected = true;
  }

  onLost(): () => void {
    return () => undefined;
  }

  drop(): void {
    this.#connected = false;
  }

  async close(): Promise<void> {
    this.#connected = false;
  }

  async run(script: string, args: readonly string[], { timeoutMs, signal, onLine }: RunOptions): Promise<RunResult> {
    await this.connect(undefined, signal);
    const result = await this.#execute(shellInput(script, args), timeoutMs, signal);
    for (const line of `${result.stdout}\n${result.stderr}`.split('\n')) if (line !== '') onLine?.(line);
    return result;
  }

  async upload(
    source: Buffer | { readonly path: string },
    target: string,
    { mode, signal, onProgress }: UploadOptions,
  ): Promise<void> {
    await this.connect(undefined, signal);
    const content = Buffer.isBuffer(source) ? source : await readFile(source.path);
    const temporary = `${target}.uploading`;
    try {
      await writeFile(temporary, content, { mode });
      await rename(temporary, target);
    } catch (cause) {
      await rm(temporary, { force: true });
      throw commandFailed(`a file cannot be written: ${(cause as Error).message}`, cause);
    }
    onProgress?.(content.length, content.length);
  }

  async openSocket(address: { readonly host: string; readonly port: number }): Promise<Duplex> {
    await this.connect();
    const socket = connect(address);
    return new Promise((resolve, reject) => {
      socket.once('connect', () => resolve(socket));
      socket.once('error', reject);
    });
  }

  #execute(input: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<RunResult> {
    const env = this.#options.variables as NodeJS.ProcessEnv;
    return new Promise((resolve, reject) => {
      const options = { env, timeout: timeoutMs, killSignal: 'SIGKILL' as const, ...(signal ? { signal } : {}) };
      const child = execFile(REMOTE_SHELL, [], options, (error, stdout, stderr) => {
        if (signal?.aborted) return reject(signal.reason);
        if (error?.killed) return reject(commandFailed(`a command took longer than ${timeoutMs} ms`, error));
        const code = error ? (typeof error.code === 'number' ? error.code : null) : 0;
        resolve({ code, stdout: stdout.slice(-KEPT_BYTES), stderr: withoutPid(stderr).slice(-KEPT_BYTES) });
      });
      // A shell that ends before it has read everything says why by its status.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
    });
  }
}

/** The shell's own first line is not part of the output. */
function withoutPid(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => readScriptPid(line) === undefined)
    .join('\n');
}

function isRetryable(error: unknown): error is RbeeError {
  return isRbeeError(error) && error.code === 'SSH_CONNECTION_TIMEOUT';
}

function commandFailed(what: string, cause: unknown): RbeeError {
  return new RbeeError('SSH_COMMAND_FAILED', what, { cause });
}
