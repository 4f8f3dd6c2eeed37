/**
 * Builds the apps when their dist folders are missing or older than the sources; `--quiet` says nothing when there is
 * nothing to do. Output goes to stderr. A dist folder that is up to date is not even rewritten, since daemons run from
 * it and load parts of it later; for the same reason only one build runs at a time.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './build-lock.mjs';
import { root, run } from './run.mjs';

const cache = join(root, '.turbo');
const stamp = join(cache, 'built-from');
const log = join(cache, 'build.log');
const apps = readdirSync(join(root, 'apps'));
const quiet = process.argv.includes('--quiet');

function filesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** A hash over everything that a build reads. */
function fingerprint() {
  const projects = [
    ...apps.map((name) => `apps/${name}`),
    ...readdirSync(join(root, 'packages')).map((name) => `packages/${name}`),
  ];
  const single = [
    'pnpm-lock.yaml',
    'tsup.base.ts',
    'tsconfig.base.json',
    'turbo.json',
    ...projects.flatMap((folder) =>
      ['package.json', 'tsconfig.json', 'tsup.config.ts'].map((name) => join(folder, name)),
    ),
  ]
    .map((name) => join(root, name))
    .filter((file) => existsSync(file));
  const hash = createHash('sha256');
  for (const file of [...single, ...projects.flatMap((folder) => filesBelow(join(folder, 'src')))].sort()) {
    hash.update(`${file}\0`).update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

function isUpToDate(wanted) {
  return (
    existsSync(stamp) &&
    readFileSync(stamp, 'utf8') === wanted &&
    apps.every((name) => existsSync(join(root, 'apps', name, 'dist', 'main.js')))
  );
}

/** Runs pnpm with its output in the log. It is on the PATH, where turbo looks for it, only when pnpm started this script. */
function pnpm(args) {
  const output = openSync(log, 'w');
  const env = { TURBO_TELEMETRY_DISABLED: '1', TURBO_NO_UPDATE_NOTIFIER: '1' };
  const options = { env, stdio: ['ignore', output, output] };
  if (process.env.npm_config_user_agent?.startsWith('pnpm/')) return run('pnpm', args, options);
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return run('npx', ['--yes', packageManager, ...args], options);
}

/** Starting one app on a new clone installs that app only, but it needs the others: a queen starts a hive. */
function isInstalled() {
  return apps.every((name) => existsSync(join(root, 'apps', name, 'node_modules')));
}

async function build() {
  const wanted = fingerprint();
  if (isUpToDate(wanted)) {
    if (!quiet) console.error('The build is up to date.');
    return 0;
  }
  console.error('Building rbee ...');
  const start = Date.now();
  rmSync(stamp, { force: true });
  const turbo = ['exec', 'turbo', 'run', 'build', '--output-logs=errors-only', '--log-order=grouped'];
  const installed = isInstalled() ? 0 : await pnpm(['install', '--frozen-lockfile']);
  const code = installed || (await pnpm(turbo));
  if (code === 0) {
    writeFileSync(stamp, wanted);
    console.error(`Built in ${((Date.now() - start) / 1000).toFixed(1)} s.`);
  } else {
    console.error(readFileSync(log, 'utf8'));
    console.error('The build failed; the lines above say where.');
  }
  return code;
}

mkdirSync(cache, { recursive: true });
process.exitCode = await withLock(join(cache, 'build.lock'), build);
