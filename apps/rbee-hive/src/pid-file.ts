import { readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Writes the pid of this process; the returned function removes the file, unless another process took it over. */
export function writePidFile(path: string, pid: number): () => void {
  writeFileSync(path, `${pid}\n`, { mode: 0o600 });
  return () => {
    if (readPid(path) === pid) rmSync(path, { force: true });
  };
}

function readPid(path: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(path, 'utf8'), 10);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
