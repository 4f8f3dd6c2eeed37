import type { Readable, Writable } from 'node:stream';
import type { SignalSource } from '@rbee/daemon-kit';
import type { Environment } from '@rbee/daemon-kit/client';

/** Where text goes: a terminal, a pipe or a file. */
export type TextSink = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Where typed or piped text comes from. */
export type TextSource = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };

/** Everything of the outside world that the keeper reads or touches; built once in `main.ts`. */
export interface KeeperEnvironment
  extends Pick<Environment, 'args' | 'variables' | 'cwd' | 'home' | 'tmpdir' | 'clock'> {
  readonly stdin: TextSource;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly signals: SignalSource;
  /** The Node program that runs a queen. */
  readonly execPath: string;
  /** Script that starts a queen. */
  readonly queenLauncher: string;
}
