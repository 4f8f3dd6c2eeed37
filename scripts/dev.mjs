/**
 * Runs a queen and a hive from source: when a source file changes, what depends on it is built and both daemons start
 * anew. A build that fails leaves the running ones alone.
 */
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root, run } from './run.mjs';

const SETTLE_MS = 100;
const STOP_LIMIT_MS = 20_000;
const commands = [
  ['apps/rbee-hive/bin/rbee-hive.js', 'daemon'],
  ['apps/queen-rbee/bin/queen-rbee.js', 'daemon'],
];

const wake = new EventEmitter();
let daemons = [];
let wanted = true;
let interrupted = false;
let dirty = true;

function start([script, ...args]) {
  const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  child.once('exit', (code, signal) => {
    if (!child.stopping) console.error(`${script} ended (${signal ?? code}); it starts again after the next change.`);
  });
  return child;
}

/** In a terminal the daemons of our group have had Ctrl+C already, and a second signal would cut their drain short. */
async function stop(child, signalled) {
  child.stopping = true;
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (!signalled) child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(limit);
}

async function rebuild() {
  if ((await run(process.execPath, ['scripts/build.mjs', '--quiet'])) !== 0 || !wanted) return;
  await Promise.all(daemons.map((child) => stop(child, false)));
  daemons = wanted ? commands.map(start) : [];
}

const watchers = ['apps', 'packages']
  .flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name, 'src')))
  .filter((folder) => existsSync(folder))
  .map((folder) =>
    watch(folder, { recursive: true }, (_event, file) => {
      if (!file?.endsWith('.ts') || file.endsWith('.test.ts')) return;
      dirty = true;
      wake.emit('up');
    }),
  );

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    wanted = false;
    interrupted ||= signal === 'SIGINT' && process.stdin.isTTY === true;
    for (const child of daemons) child.stopping = true;
    wake.emit('up');
  });
}

while (wanted) {
  if (dirty) {
    dirty = false;
    await rebuild();
  } else {
    await once(wake, 'up');
    // Editors write in several steps.
    if (wanted) await sleep(SETTLE_MS);
  }
}
for (const watcher of watchers) watcher.close();
await Promise.all(daemons.map((child) => stop(child, interrupted)));
