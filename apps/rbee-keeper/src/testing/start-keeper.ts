import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { systemClock } from '@rbee/daemon-kit/client';
import type { KeeperEnvironment, TextSource } from '../keeper-environment.js';
import { runProgram } from '../program.js';
import { CapturedSink } from './captured-sink.js';

export interface KeeperOptions {
  /** Queen to use; left out: the one at the port in `variables`. */
  readonly queenUrl?: string;
  readonly variables?: Readonly<Record<string, string>>;
  readonly home?: string;
  /** Which of the two outputs are terminals. */
  readonly terminal?: 'stdout' | 'stderr' | 'both' | 'all';
  /** Text of standard input; left out: it stays open and empty. */
  readonly input?: string | undefined;
  readonly queenLauncher?: string;
  readonly clock?: KeeperEnvironment['clock'];
}

/** One run of the keeper within the test's own process. */
export interface KeeperRun {
  readonly stdin: PassThrough;
  readonly stdout: CapturedSink;
  readonly stderr: CapturedSink;
  readonly home: string;
  readonly code: Promise<number>;
  /** Delivers a signal, as Ctrl+C does. */
  signal(name?: NodeJS.Signals): void;
}

const folders: string[] = [];

/** A new folder, until `removeFolders`. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rbee-keeper-test-'));
  folders.push(folder);
  return folder;
}

/** For afterEach: removes what `makeFolder` and `startKeeper` made. */
export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** An environment of which only some parts matter; the rest is empty. */
export function environmentWith(parts: Partial<KeeperEnvironment>): KeeperEnvironment {
  return {
    args: [],
    variables: {},
    cwd: '/',
    home: '/',
    tmpdir: '/',
    clock: systemClock,
    stdin: new PassThrough(),
    stdout: new CapturedSink(),
    stderr: new CapturedSink(),
    signals: new EventEmitter(),
    execPath: process.execPath,
    queenLauncher: '/nowhere/queen-rbee.js',
    ...parts,
  };
}

/** Starts the keeper with a command line. */
export function startKeeper(args: readonly string[], options: KeeperOptions = {}): KeeperRun {
  const home = options.home ?? makeFolder();
  const terminal = options.terminal;
  const stdin = Object.assign(new PassThrough(), { isTTY: terminal === 'all', setRawMode: () => undefined });
  if (options.input !== undefined) stdin.end(options.input);
  const stdout = new CapturedSink(terminal !== undefined && terminal !== 'stderr');
  const stderr = new CapturedSink(terminal !== undefined && terminal !== 'stdout');
  const signals = new EventEmitter();
  mkdirSync(join(home, 'tmp'), { recursive: true });
  const env = environmentWith({
    args,
    variables: {
      TERM: 'xterm',
      ...(options.queenUrl ? { RBEE_QUEEN_URL: options.queenUrl } : {}),
      ...options.variables,
    },
    cwd: home,
    home,
    tmpdir: join(home, 'tmp'),
    stdin: stdin as TextSource,
    stdout,
    stderr,
    signals,
    ...(options.queenLauncher ? { queenLauncher: options.queenLauncher } : {}),
    ...(options.clock ? { clock: options.clock } : {}),
  });
  return { stdin, stdout, stderr, home, code: runProgram(env), signal: (name = 'SIGINT') => void signals.emit(name) };
}

/** Runs the keeper to its end. */
export async function runKeeper(args: readonly string[], options: KeeperOptions = {}) {
  const run = startKeeper(args, { input: '', ...options });
  const code = await run.code;
  return { code, stdout: run.stdout.text, stderr: run.stderr.text, screen: run.stderr.screen, home: run.home };
}
