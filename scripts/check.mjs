/**
 * Everything that must be green: format and lint, types, unused code and dependencies, the scripts/check-*.mjs, and with
 * them, unless called with `static`, all tests. One failure doesn't hide the others.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './run.mjs';

const steps = [
  ['format and lint', 'biome', ['check', '--error-on-warnings', '.']],
  ['types', 'tsc', ['--build']],
  ['unused files, exports and dependencies', 'knip', ['--no-progress']],
  ...readdirSync(join(root, 'scripts'))
    .filter((name) => /^check-.*\.mjs$/.test(name))
    .map((name) => [name.slice('check-'.length, -'.mjs'.length), process.execPath, [join('scripts', name)]]),
];
if (process.argv[2] !== 'static') steps.push(['tests', process.execPath, ['scripts/test.mjs']]);

const failed = [];
for (const [title, command, args] of steps) {
  console.log(`\nCheck: ${title}`);
  if ((await run(command, args)) !== 0) {
    failed.push(title);
    console.error(`Check failed: ${title}`);
  }
}
if (failed.length > 0) {
  console.error(`\nFailed: ${failed.join('; ')}`);
  process.exitCode = 1;
}
