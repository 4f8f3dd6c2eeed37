import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { processEnvironment } from '@rbee/daemon-kit';
import type { SpawnAnswer } from '@rbee/protocol';
import { READ_TYPESCRIPT } from './hive-program.js';
import type { TestHiveOptions } from './test-hive.js';

const PROGRAM = fileURLToPath(new URL('./killable-hive.ts', import.meta.url));

/** What a hive leaves that was killed after its workers had started. */
export interface Left {
  readonly home: string;
  readonly workers: SpawnAnswer[];
}

/** Starts a hive with these workers and kills it. */
export async function killedHive(options: Omit<TestHiveOptions, 'clock'> & { spawns?: object[] } = {}): Promise<Left> {
  const env = { ...processEnvironment().variables, NODE_OPTIONS: '' };
  const args = [...READ_TYPESCRIPT, PROGRAM, JSON.stringify(options)];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, 'line'), exited.then(() => [undefined])])) as [string | undefined];
  if (line === undefined) throw new Error('the hive ended before its workers were there');
  child.kill('SIGKILL');
  await exited;
  const { home, answers } = JSON.parse(line) as { home: string; answers: SpawnAnswer[] };
  return { home, workers: answers };
}
