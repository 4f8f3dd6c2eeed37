import type { Duplex } from 'node:stream';

export interface RunOptions {
  /** Longest time to the end of the command. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Told each line as it comes, without its end; what stands in the result is bounded, this is not. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface RunResult {
  /** Exit status; `null` when a signal ended the command. */
  readonly code: number | null;
  /** The last 64 KiB of each output, as text. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface UploadOptions {
  /** Permissions of the file, for example 0o600. */
  readonly mode: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
}

/** A machine that the queen runs commands on and moves files to. */
export interface Machine {
  /**
   * Runs a text of ours under /bin/sh, whatever the user's own shell is, with the arguments as "$1", "$2" and so on;
   * their values are never read as code. Standard input is empty. A command that fails is a result, not an error.
   * Throws SSH_COMMAND_FAILED when it takes too long, the errors of the connection, or the signal's reason.
   */
  run(script: string, args: readonly string[], options: RunOptions): Promise<RunResult>;
  /**
   * Puts a file there, by way of a temporary name beside it. Throws SSH_COMMAND_FAILED, and leaves nothing half done.
   */
  upload(source: Buffer | { readonly path: string }, target: string, options: UploadOptions): Promise<void>;
  /**
   * A byte stream to an address as the machine sees it. Rejects with an error of the code ECONNREFUSED when nothing
   * listens there, SSH_FORWARDING_DENIED when the machine does not allow it, or the errors of the connection.
   */
  openSocket(address: { readonly host: string; readonly port: number }): Promise<Duplex>;
}
