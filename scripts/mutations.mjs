/**
 * Shows that scenarios guard the product: breaks it in each of the ways that features/mutations.json lists, builds it, and
 * runs the scenario, which must fail at the step that the list names.
 *
 *     pnpm mutations                  all of them
 *     pnpm mutations --only S23,S47   some of them
 *
 * Works in a temporary clone of the last commit, which is removed afterwards; changes that are not committed have no part
 * in it.
 * Exit code 1 when a scenario stayed green, failed elsewhere, or fails without any mutation.
 *
 * @typedef {{ id: string, breaks: string, feature: string, step: string, file: string, find: string, replace: string }}
 *   Mutation
 *   `find` is exactly once in `file`; `step` is the first step to fail in a scenario of `feature` that is tagged with `id`.
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { root, run } from './run.mjs';
import { alignColumns, parseMessages, readScenarios } from './scenario-table.mjs';

/** @type {Mutation[]} */
const mutations = JSON.parse(readFileSync(join(root, 'features/mutations.json'), 'utf8'));

/** As it must be. */
const RED = 'red';

let isStopped = false;
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (isStopped = true));

/** A clone of the last commit; its own scripts build and run it. */
async function makeClone(folder) {
  if ((await run('git', ['clone', '--quiet', root, folder])) !== 0) throw new Error(`${root} cannot be cloned.`);
  mkdirSync(join(folder, 'reports'), { recursive: true });
  const { run: runThere } = await import(pathToFileURL(join(folder, 'scripts/run.mjs')));
  const log = join(folder, 'reports/mutation.log');
  const quietly = (command, args) => {
    const output = openSync(log, 'w');
    return runThere(command, args, { stdio: ['ignore', output, output] }).finally(() => closeSync(output));
  };
  return {
    file: (path) => join(folder, path),
    log: () => readFileSync(log, 'utf8'),
    build: () => quietly(process.execPath, ['scripts/build.mjs', '--quiet']),
    /** Runs the tagged scenarios of some features; resolves to those that were meant to run. */
    async runScenarios(features, ids) {
      const report = join(folder, 'reports/cucumber.ndjson');
      rmSync(report, { force: true });
      await quietly('cucumber-js', [...features, '--tags', ids.map((id) => `@${id}`).join(' or ')]);
      if (!existsSync(report)) throw new Error(`Cucumber did not begin:\n${readFileSync(log, 'utf8')}`);
      return readScenarios(parseMessages(readFileSync(report, 'utf8'))).filter(({ planned }) => planned);
    },
  };
}

/** Without a mutation all must be green; otherwise red says nothing. */
async function checkUnchanged(clone, chosen) {
  if ((await clone.build()) !== 0) throw new Error(`The last commit does not build:\n${clone.log()}`);
  const features = [...new Set(chosen.map(({ feature }) => feature))];
  const ids = chosen.map(({ id }) => id);
  const scenarios = await clone.runScenarios(features, ids);
  const red = scenarios.filter(({ result }) => result !== 'passed');
  for (const { uri, line, result } of red) console.error(`Without any mutation, ${uri}:${line}: ${result}`);
  if (red.length > 0 || scenarios.length === 0) throw new Error(clone.log());
}

/** Applies a mutation and takes it back; resolves to what the scenario made of it. */
async function tryMutation(clone, { id, feature, step, file, find, replace }) {
  const path = clone.file(file);
  const original = readFileSync(path, 'utf8');
  if (original.split(find).length !== 2) return 'does not apply: the text to find is not there exactly once';
  writeFileSync(
    path,
    original.replace(find, () => replace),
  );
  try {
    if ((await clone.build()) !== 0) return 'does not build';
    const red = (await clone.runScenarios([feature], [id])).filter(({ result }) => result !== 'passed');
    if (red.some(({ failedStep }) => failedStep === step)) return RED;
    if (red.length === 0) return 'stays green';
    return `red elsewhere: ${red.map(({ failedStep, result }) => failedStep || result).join('; ')}`;
  } finally {
    writeFileSync(path, original);
  }
}

async function main() {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  const ids = values.only?.split(',');
  for (const id of ids ?? []) {
    if (!mutations.some((mutation) => mutation.id === id)) throw new Error(`features/mutations.json has no ${id}.`);
  }
  const chosen = mutations.filter(({ id }) => !ids || ids.includes(id));
  const folder = mkdtempSync(join(tmpdir(), 'rbee-mutations-'));
  try {
    const clone = await makeClone(join(folder, 'rbee'));
    console.error('Building, and running the scenarios without any mutation ...');
    await checkUnchanged(clone, chosen);
    const table = [['scenario', 'product code', 'what it breaks', 'step that fails', 'result']];
    for (const mutation of chosen) {
      if (isStopped) throw new Error('Interrupted.');
      const { id, file, breaks, step } = mutation;
      const result = await tryMutation(clone, mutation);
      table.push([id, file, breaks, step, result]);
      console.error(`${id}: ${breaks}: ${result}`);
      if (result !== RED) console.error(clone.log());
    }
    const red = table.filter((row) => row.at(-1) === RED).length;
    console.log(`\n${alignColumns(table)}\n\n${red} of ${chosen.length} mutations turn their scenario red.`);
    return red === chosen.length ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
