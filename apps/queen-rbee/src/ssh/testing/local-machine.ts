import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { Machine, RunOptions, RunResult, UploadOptions } from '../../machine/machine.js';
import { REMOTE_SHELL, shellInput } from '../quote.js';
import { ScriptOutput } from '../script-output.js';

export interface LocalMachineOptions {
  /** The whole environment of the commands. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Folder that commands start in; default: this process's. */
  readonly cwd?: string;
}

/** This machine as if it were another one: the same scripts without SSH. */
export class LocalMachine implements Machine {
  readonly #options: LocalMachineOptions;

  constructor(options: LocalMachineOptions) {
    this.#options = options;
  }

  async run(script: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
    const { timeoutMs, signal, onLine } = options;
    signal?.throwIfAborted();
    const input = shellInput(script, args);
    const { variables, cwd } = this.#options;
    const env = variables as NodeJS.ProcessEnv;
    // In a session of its own, so that everything it starts can be ended with it.
    const child = spawn(REMOTE_SHELL, [], { detached: true, env, ...(cwd === undefined ? {} : { cwd }) });
    const stdout = new ScriptOutput(onLine);
    const stderr = new ScriptOutput(onLine);
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A shell that ends before it has read everything says why by its status.
    child.stdin.on('error', () => undefined);
    let failure: unknown;
    const end = (reason: unknown) => {
      failure ??= reason;
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, 'SIGKILL');
    };
    const cancel = systemClock.after(timeoutMs, () =>
      end(
        new RbeeError('SSH_COMMAND_FAILED', `a command took longer than ${timeoutMs} ms`, {
          details: { reason: 'timeout', timeout_ms: timeoutMs },
        }),
      ),
    );
    const abort = () => end(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const closed = once(child, 'close');
      child.stdin.end(input);
      const [code] = (await closed) as [number | null];
      if (failure !== undefined) throw failure;
      return { code, stdout: stdout.end(), stderr: stderr.end() };
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
    }
  }

  async upload(
    source: Buffer | { readonly path: string },
    target: string,
    { mode, signal, onProgress }: UploadOptions,
  ): Promise<void> {
    const temporary = `${target}.uploading`;
    try {
      signal?.throwIfAborted();
      const content = Buffer.isBuffer(source) ? source : await readFile(source.path);
      await writeFile(temporary, content, { mode });
      await chmod(temporary, mode);
      await rename(temporary, target);
      onProgress?.(content.length, content.length);
    } catch (error) {
      await rm(temporary, { force: true });
      throw toUploadError(target, error);
    }
  }

  async openSocket(address: { readonly host: string; readonly port: number }): Promise<Duplex> {
    const socket = connect(address);
    await once(socket, 'connect');
    return socket;
  }
}

function toUploadError(target: string, cause: unknown): unknown {
  const { syscall, message } = cause as NodeJS.ErrnoException;
  if (syscall === undefined) return cause;
  return new RbeeError('SSH_COMMAND_FAILED', `${target} cannot be written: ${message}`, {
    details: { path: target },
    cause,
  });
}
