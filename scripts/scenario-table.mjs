/**
 * The scenario index with the results of a run: Cucumber's messages and features/scenario-index.json in, rows and text out.
 *
 * @typedef {{ id: string, tier: 'core' | 'hardening' | 'later', area: string, title: string, open?: true, unit?: string }}
 *   IndexEntry
 *   A line of the index. `open`: it has no scenario of its own yet. `unit`: the jest file that shows it, by tests whose titles
 *   begin with the id and a colon: what is measured in microseconds is not seen from outside of a process.
 * @typedef {'passed' | 'skipped' | 'not run' | 'retried' | 'pending' | 'undefined' | 'failed'} Result
 * @typedef {{ uri: string, line: number | undefined, name: string, tags: string[], steps: string[], planned: boolean, result: Result,
 *   ms: number, failedStep: string | undefined }} Scenario
 *   A scenario, or one row of its examples. `tags` come without their @; `planned`: the run was going to run it;
 *   `failedStep`: the first one that failed, empty where a hook did.
 * @typedef {{ id: string, title: string, places: string, result: Result | 'missing' | 'open', ms: number }} Row
 */

/** Worse with each place. */
const RESULTS = ['passed', 'skipped', 'not run', 'retried', 'pending', 'undefined', 'failed'];

const STATUS_RESULTS = { PASSED: 'passed', SKIPPED: 'skipped', PENDING: 'pending', UNDEFINED: 'undefined' };

/** The worst of some results; of none: not run. */
function worst(results) {
  return RESULTS[Math.max(...results.map((result) => RESULTS.indexOf(result)))] ?? 'not run';
}

/**
 * The messages of a report of Cucumber, one a line. A run that was cut short may have left half a line at the end, which is
 * left out.
 *
 * @param {string} text
 * @returns {object[]}
 */
export function parseMessages(text) {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole.split('\n').filter(Boolean).map(JSON.parse);
}

/**
 * The scenarios that messages tell of, in their order. A scenario is as good as its worst step; one that was tried again
 * has not passed, whatever came of it.
 *
 * @param {object[]} messages
 * @returns {Scenario[]}
 */
export function readScenarios(messages) {
  const scenarios = new Map();
  const lines = new Map();
  const cases = new Map();
  const attempts = new Map();
  for (const { gherkinDocument, pickle, testCase, testCaseStarted, testStepFinished, testCaseFinished } of messages) {
    if (gherkinDocument) for (const [id, line] of scenarioLines(gherkinDocument.feature)) lines.set(id, line);
    if (pickle) scenarios.set(pickle.id, toScenario(pickle, lines));
    if (testCase) {
      const scenario = scenarios.get(testCase.pickleId);
      scenario.planned = true;
      cases.set(testCase.id, { scenario, testCase });
    }
    if (testCaseStarted) {
      const { scenario, testCase: its } = cases.get(testCaseStarted.testCaseId);
      const results = testCaseStarted.attempt > 0 ? ['retried'] : [];
      attempts.set(testCaseStarted.id, { scenario, testCase: its, results, begun: testCaseStarted.timestamp });
    }
    if (testStepFinished) {
      const { scenario, testCase: its, results } = attempts.get(testStepFinished.testCaseStartedId);
      const { status } = testStepFinished.testStepResult;
      results.push(STATUS_RESULTS[status] ?? 'failed');
      if (results.at(-1) === 'failed') {
        const step = its.testSteps.find(({ id }) => id === testStepFinished.testStepId);
        scenario.failedStep ??= scenario.stepTexts.get(step?.pickleStepId) ?? '';
      }
    }
    if (testCaseFinished) {
      const { scenario, results, begun } = attempts.get(testCaseFinished.testCaseStartedId);
      scenario.result = worst(testCaseFinished.willBeRetried ? [...results, 'retried'] : results);
      scenario.ms += toMs(testCaseFinished.timestamp) - toMs(begun);
    }
  }
  return [...scenarios.values()].map(({ stepTexts, ...scenario }) => ({ ...scenario, steps: [...stepTexts.values()] }));
}

/**
 * The tests of a jest --json report that stand for a line of the index, in the form of scenarios.
 *
 * @param {{ testResults: object[] }} report
 * @returns {Scenario[]}
 */
export function readUnitTests({ testResults }) {
  return testResults.flatMap(({ name: uri, assertionResults }) =>
    assertionResults.flatMap(({ title, status, duration }) => {
      const [, id] = /^([SL]\d+): /.exec(title) ?? [];
      if (id === undefined) return [];
      const result = status === 'passed' ? 'passed' : status === 'failed' ? 'failed' : 'skipped';
      const ms = duration ?? 0;
      return [
        { uri, line: undefined, name: title, tags: [id], steps: [], planned: true, result, ms, failedStep: undefined },
      ];
    }),
  );
}

function* scenarioLines({ children = [] } = {}) {
  for (const { scenario, rule } of children) {
    if (scenario) yield [scenario.id, scenario.location.line];
    if (rule) yield* scenarioLines(rule);
  }
}

function toScenario({ uri, name, tags, steps, astNodeIds }, lines) {
  return {
    uri,
    // The scenario itself, also for a row of its examples.
    line: lines.get(astNodeIds[0]),
    name,
    tags: tags.map((tag) => tag.name.slice(1)),
    stepTexts: new Map(steps.map(({ id, text }) => [id, text])),
    planned: false,
    result: 'not run',
    ms: 0,
    failedStep: undefined,
  };
}

function toMs({ seconds, nanos }) {
  return seconds * 1_000 + nanos / 1_000_000;
}

/**
 * One row for each line of the index: as good as the worst of the scenarios with its tag. Lines that nothing covers have a
 * row in the core of the suite (S) only, as `missing`. With `chosen` a part of the suite was run on purpose: only what was
 * planned counts and has a row.
 *
 * @param {IndexEntry[]} index
 * @param {Scenario[]} scenarios
 * @param {{ chosen?: boolean }} [options]
 * @returns {Row[]}
 */
export function toRows(index, scenarios, { chosen = false } = {}) {
  const considered = scenarios.filter(({ planned }) => planned || !chosen);
  return index.flatMap(({ id, title, open }) => {
    const own = considered.filter(({ tags }) => tags.includes(id));
    if (own.length === 0 && (chosen || !isSuiteId(id))) return [];
    const covered = own.length === 0 ? 'missing' : worst(own.map(({ result }) => result));
    const result = open && (covered === 'missing' || covered === 'passed') ? 'open' : covered;
    return [{ id, title, places: toPlaces(own), result, ms: own.reduce((sum, { ms }) => sum + ms, 0) }];
  });
}

/** Whether it is one of the scenarios proper, not one of the further behaviours. */
export function isSuiteId(id) {
  return id.startsWith('S');
}

/** As in `nodes.feature:4, :32, two-hosts.feature:52`. */
function toPlaces(scenarios) {
  const linesOf = new Map();
  for (const { uri, line } of scenarios) linesOf.set(uri, (linesOf.get(uri) ?? new Set()).add(line));
  return [...linesOf]
    .map(([uri, lines]) => [uri.replace(/^.*\//, ''), [...lines].filter((line) => line !== undefined).join(', :')])
    .map(([file, lines]) => (lines === '' ? file : `${file}:${lines}`))
    .join(', ');
}

/**
 * The table of the rows, what nothing covers, the slowest scenarios, and the totals.
 *
 * @param {IndexEntry[]} index
 * @param {Row[]} rows
 * @param {Scenario[]} scenarios
 * @param {{ chosen?: boolean }} [options]
 */
export function render(index, rows, scenarios, { chosen = false } = {}) {
  const [suite, further] = [rows.filter(({ id }) => isSuiteId(id)), rows.filter(({ id }) => !isSuiteId(id))];
  const blocks = [suite, further].filter(({ length }) => length > 0).map(toTable);
  const covered = new Set(rows.map(({ id }) => id));
  const uncovered = index.filter(({ id, tier }) => !isSuiteId(id) && tier !== 'later' && !covered.has(id));
  if (!chosen && uncovered.length > 0)
    blocks.push(`Not covered, core or hardening: ${uncovered.map(({ id }) => id).join(' ')}`);
  const slowest = [...scenarios].sort((a, b) => b.ms - a.ms).filter(({ ms }) => ms > 0);
  if (slowest.length > 0) {
    const named = slowest
      .slice(0, 5)
      .map((scenario) => `${toPlaces([scenario])} ${(scenario.ms / 1_000).toFixed(0)} s`);
    blocks.push(`Slowest: ${named.join(', ')}`);
  }
  return `${blocks.join('\n\n')}\n`;
}

/** @param {Row[]} rows */
function toTable(rows) {
  const cells = rows.map(({ id, title, places, result, ms }) => [id, title, places, result, (ms / 1_000).toFixed(1)]);
  return alignColumns([['id', 'title', 'feature', 'result', 'seconds'], ...cells]);
}

/**
 * Rows of equally many cells as text, one line each; a last column of numbers stands at the right.
 *
 * @param {string[][]} rows
 */
export function alignColumns(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const last = widths.length - 1;
  const pad = (cell, n) => (n === last && /^[\d.]+$/.test(cell) ? cell.padStart(widths[n]) : cell.padEnd(widths[n]));
  return rows.map((row) => row.map(pad).join('  ').trimEnd()).join('\n');
}

/**
 * What a run comes to in one line, and why it is not enough, if it is not.
 *
 * @param {Row[]} rows
 * @param {{ ms: number, limitMs: number, exitCode?: number }} run
 * @returns {{ text: string, problems: string[] }}
 */
export function judge(rows, { ms, limitMs, exitCode = 0 }) {
  const problems = rows.filter(({ result }) => result !== 'passed').map(({ id, result }) => `${id}: ${result}`);
  if (rows.length === 0) problems.push('nothing ran');
  if (ms > limitMs) problems.push(`took ${toDuration(ms)}, at most ${toDuration(limitMs)} are allowed`);
  if (exitCode !== 0 && problems.length === 0) problems.push(`Cucumber ended with exit code ${exitCode}`);
  const parts = [
    [rows.filter(({ id }) => isSuiteId(id)), 'scenarios'],
    [rows.filter(({ id }) => !isSuiteId(id)), 'further behaviours'],
  ].filter(([{ length }]) => length > 0);
  const counts = parts.map(([all, noun]) => {
    const passed = all.filter(({ result }) => result === 'passed').length;
    return `${passed} of ${all.length} ${noun} passed`;
  });
  return { text: `${[...counts, toDuration(ms)].join(', ')}.`, problems };
}

/** As in `7 min 40 s`. */
function toDuration(ms) {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
