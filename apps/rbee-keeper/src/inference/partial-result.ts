import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Keeps what was generated before a task failed, for its owner only; resolves to the file's path. */
export function savePartialResult(tmpdir: string, jobId: string, text: string): string {
  const shortId = jobId.replace(/^job-/, '').slice(0, 8);
  const path = join(tmpdir, `rbee-partial-${shortId}.txt`);
  // A file that is there already may be somebody else's link to elsewhere: never write through it.
  writeFileSync(path, `${text}\n`, { mode: 0o600, flag: 'wx' });
  return path;
}
