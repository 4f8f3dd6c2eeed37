/**
 * Builds, runs the scenarios of the index with real processes, and prints the index as a table with their results:
 *
 *     pnpm scenarios                        the whole index, within ten minutes and without a retry
 *     pnpm scenarios --runs 2               the same twice in a row
 *     pnpm scenarios --only S09,L044        some lines of it
 *     pnpm scenarios features/nodes.feature some features
 *     pnpm scenarios --report-only          the table of the last `pnpm test`, nothing is run
 *
 * The tables are written to reports/scenarios.txt as well. Exit code 1 when a line of the index has not passed.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, run } from './run.mjs';
import { judge, parseMessages, readScenarios, readUnitTests, render, toRows } from './scenario-table.mjs';

/** The whole index on two cores. */
const LIMIT_MS = 10 * 60_000;
/** A run over the limit goes on for a while, to show what is slow. */
const GIVE_UP_MS = 15 * 60_000;

const reports = join(root, 'reports');
const index = JSON.parse(readFileSync(join(root, 'features/scenario-index.json'), 'utf8'));

function readArguments() {
  const { values, positionals: features } = parseArgs({
    allowPositionals: true,
    options: { only: { type: 'string' }, runs: { type: 'string', default: '1' }, 'report-only': { type: 'boolean' } },
  });
  const ids = values.only?.split(',').filter(Boolean) ?? [];
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: give a number from 1 on.`);
  for (const id of ids) {
    if (!index.some((entry) => entry.id === id)) throw new Error(`--only: features/scenario-index.json has no ${id}.`);
  }
  for (const feature of features) {
    if (!existsSync(join(root, feature.replace(/(:\d+)+$/, '')))) throw new Error(`There is no file ${feature}.`);
  }
  return {
    ids,
    features,
    runs,
    reportOnly: values['report-only'],
    index: ids.length === 0 ? index : index.filter(({ id }) => ids.includes(id)),
  };
}

/** One run; resolves with its table and totals. */
async function runOnce(options, number) {
  const { ids, features } = options;
  const report = join(reports, number === 1 ? 'scenarios.ndjson' : `scenarios-${number}.ndjson`);
  rmSync(report, { force: true });
  const args = ['--profile', 'scenarios', '--format', `message:${report}`, ...features];
  if (ids.length > 0) args.push('--tags', ids.map((id) => `@${id}`).join(' or '));
  const begun = performance.now();
  const exitCode = await run('cucumber-js', args, { timeoutMs: GIVE_UP_MS });
  const unitReport = join(reports, 'scenarios-jest.json');
  rmSync(unitReport, { force: true });
  const unitCode = await runUnitTests(options, unitReport);
  return summarize(report, unitReport, { ...options, ms: performance.now() - begun, exitCode: exitCode || unitCode });
}

/** The unit tests that stand for lines of the index; after the scenarios, since they measure time. */
async function runUnitTests({ index: wanted, features }, report) {
  const files = new Set(wanted.flatMap(({ unit }) => unit ?? []));
  if (files.size === 0 || features.length > 0) return 0;
  return run('jest', ['--json', `--outputFile=${report}`, ...files], {
    env: { NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' },
    // jest repeats the report on stdout.
    stdio: ['inherit', 'ignore', 'inherit'],
    timeoutMs: GIVE_UP_MS,
  });
}

/** The run of `pnpm test`, by its report. */
function summarizeLastTest(options) {
  const report = join(reports, 'cucumber.ndjson');
  if (!existsSync(report)) throw new Error(`There is no ${report}: run pnpm test first.`);
  const times = parseMessages(readFileSync(report, 'utf8')).flatMap(({ testRunStarted, testRunFinished }) => {
    const { timestamp } = testRunStarted ?? testRunFinished ?? {};
    return timestamp ? [timestamp.seconds * 1_000] : [];
  });
  return summarize(report, join(reports, 'jest.json'), { ...options, ms: times.at(-1) - times[0], exitCode: 0 });
}

function summarize(report, unitReport, { index: wanted, features, ms, exitCode }) {
  const units = existsSync(unitReport) ? readUnitTests(JSON.parse(readFileSync(unitReport, 'utf8'))) : [];
  const cucumber = existsSync(report) ? readScenarios(parseMessages(readFileSync(report, 'utf8'))) : [];
  const scenarios = [...cucumber, ...units];
  const chosen = features.length > 0;
  const rows = toRows(wanted, scenarios, { chosen });
  return { table: render(wanted, rows, scenarios, { chosen }), ...judge(rows, { ms, limitMs: LIMIT_MS, exitCode }) };
}

async function main() {
  const options = readArguments();
  mkdirSync(reports, { recursive: true });
  const results = [];
  if (options.reportOnly) {
    results.push(summarizeLastTest(options));
  } else {
    if ((await run(process.execPath, ['scripts/build.mjs', '--quiet'])) !== 0) return 1;
    for (let number = 1; number <= options.runs; number++) results.push(await runOnce(options, number));
  }
  const prefix = (n) => (results.length > 1 ? `Run ${n + 1}: ` : '');
  const text = [
    ...results.map(({ table }) => table),
    ...results.map((result, n) => [`${prefix(n)}${result.text}`, ...result.problems].join('\n  ')),
  ].join('\n');
  console.log(`\n${text}`);
  writeFileSync(join(reports, 'scenarios.txt'), `${text}\n`);
  return results.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}
