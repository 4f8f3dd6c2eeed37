import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { processEnvironment } from '@rbee/daemon-kit';
import type { MemoryFigures } from '@rbee/protocol';
import { READ_TYPESCRIPT } from './hive-program.js';

export interface LoadedModel {
  readonly modelPath: string;
  /** Left out: what a worker takes by itself. */
  readonly contextSize?: number;
  readonly slots: number;
}

const PROGRAM = fileURLToPath(new URL('./measure-memory.mjs', import.meta.url));

/** What the real engine reports of each model, in a process of its own; null where it reports nothing. */
export async function measureMemory(models: readonly LoadedModel[]): Promise<(MemoryFigures | null)[]> {
  const { PATH, HOME } = processEnvironment().variables;
  const args = [...READ_TYPESCRIPT, PROGRAM, JSON.stringify(models)];
  const options = { env: { PATH, HOME, UV_THREADPOOL_SIZE: '1' }, timeout: 60_000 };
  const { stdout } = await promisify(execFile)(process.execPath, args, options);
  return JSON.parse(stdout) as (MemoryFigures | null)[];
}
