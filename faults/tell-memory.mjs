// Preloaded into a daemon: on SIGUSR2 it collects its garbage and tells, in a file named after its pid in the temporary
// folder, how many bytes it holds.
import { renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

process.on('SIGUSR2', () => {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  const file = join(tmpdir(), `held-${process.pid}`);
  // Renamed into place, so that nobody reads half of it.
  writeFileSync(`${file}.new`, String(heapUsed + external));
  renameSync(`${file}.new`, file);
});
