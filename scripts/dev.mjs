/**
 * Runs a queen and a hive from source: each app is rebuilt when one of its files changes, and the two daemons start anew.
 * The keeper and the worker are only rebuilt; the next command or the next worker uses the new build.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './run.mjs';

// From here on dist belongs to the watchers.
rmSync(join(root, '.turbo', 'built-from'), { force: true });

const daemons = { 'queen-rbee': 'node bin/queen-rbee.js daemon', 'rbee-hive': 'node bin/rbee-hive.js daemon' };

const watchers = ['rbee-keeper', 'llm-worker', 'rbee-hive', 'queen-rbee'].map((app) => {
  const watch = ['--watch', 'src', '--watch', '../../packages'];
  const restart = daemons[app] === undefined ? [] : ['--onSuccess', daemons[app]];
  return run('tsup', [...watch, ...restart], { cwd: join(root, 'apps', app) });
});
process.exitCode = Math.max(...(await Promise.all(watchers)));
