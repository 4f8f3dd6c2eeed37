/**
 * Builds, then runs the tests: `unit` (jest), `features` (Cucumber), or both without an argument. What follows goes to
 * the one runner named, as in `pnpm test:features --tags @S08`. The last line of the output holds the counts, and so does
 * reports/summary.txt.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './run.mjs';
import { clearSecretReport, readSecretReport } from './secret-report.mjs';
import { cucumberCounts, jestCounts, summary } from './test-counts.mjs';

const reports = join(root, 'reports');
const SUITE_LIMIT_MS = 15 * 60_000;

const suites = {
  unit: {
    title: 'Unit tests (jest)',
    report: join(reports, 'jest.json'),
    counts: jestCounts,
    start: (args, report) =>
      run('jest', ['--json', `--outputFile=${report}`, ...args], {
        env: { NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning' },
        // jest repeats the report on stdout, and writes what people read to stderr.
        stdio: ['inherit', 'ignore', 'inherit'],
        timeoutMs: SUITE_LIMIT_MS,
      }),
  },
  features: {
    title: 'Scenarios (Cucumber)',
    report: join(reports, 'cucumber.ndjson'),
    counts: cucumberCounts,
    start: async (args) => {
      clearSecretReport();
      const code = await run('cucumber-js', args, { timeoutMs: SUITE_LIMIT_MS });
      const { text, ok } = readSecretReport();
      console.log(text);
      // Some scenarios alone may have nothing to look for.
      return ok || args.length > 0 ? code : 1;
    },
  },
};

async function runSuite({ title, report, counts: read, start }, args) {
  console.log(`\n${title}`);
  rmSync(report, { force: true });
  const code = await start(args, report);
  const counts = read(report);
  if (counts.passed + counts.failed === 0) {
    console.error(`${title}: nothing ran.`);
    counts.failed = 1;
  } else if (code !== 0 && counts.failed === 0) {
    console.error(`${title}: the runner ended with exit code ${code}.`);
    counts.failed = 1;
  }
  return { title, counts };
}

async function main([name, ...args]) {
  const chosen = name === undefined ? Object.values(suites) : [suites[name]];
  if (chosen.includes(undefined)) {
    console.error(`Unknown suite "${name}": choose unit or features.`);
    return 2;
  }
  mkdirSync(reports, { recursive: true });
  rmSync(join(reports, 'summary.txt'), { force: true });
  const built = await run(process.execPath, ['scripts/build.mjs', '--quiet']);
  if (built !== 0) return finish({ passed: 0, failed: 1, skipped: 0 });
  const results = [];
  for (const suite of chosen) results.push(await runSuite(suite, args));
  console.log();
  for (const { title, counts } of results) console.log(`${title}: ${summary(counts)}`);
  const sum = (key) => results.reduce((total, { counts }) => total + counts[key], 0);
  return finish({ passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') });
}

function finish(total) {
  console.log(summary(total));
  writeFileSync(join(reports, 'summary.txt'), `${summary(total)}\n`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
