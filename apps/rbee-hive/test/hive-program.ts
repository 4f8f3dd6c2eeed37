import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { processEnvironment } from '@rbee/daemon-kit';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
/** Makes Node.js read TypeScript, wherever it is started. */
export const READ_TYPESCRIPT = ['--import', import.meta.resolve('tsx')];

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  readonly home: string;
  readonly variables?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Entry of the program. Default: the sources of this checkout. */
  readonly main?: string;
}

/** Runs the hive's program as a process of its own, to its end and the end of everything that holds its output open. */
export async function runProgram(args: readonly string[], options: ProgramOptions): Promise<Outcome> {
  const { home, variables, cwd = home, main = MAIN } = options;
  const env = { PATH: processEnvironment().variables.PATH, HOME: home, RBEE_LOG_LEVEL: 'warn', ...variables };
  const child: ChildProcess = spawn(process.execPath, [...READ_TYPESCRIPT, main, ...args], { env, cwd });
  child.stdin?.end();
  const output = [child.stdout, child.stderr].map((stream) => (stream ? text(stream) : ''));
  const [[code], stdout = '', stderr = ''] = await Promise.all([once(child, 'close'), ...output]);
  return { code: code as number | null, stdout, stderr };
}

/** A port of the loopback address that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
