import { expect, test } from '@jest/globals';
import { judge, parseMessages, readScenarios, readUnitTests, render, toRows } from './scenario-table.mjs';

const index = [
  { id: 'S01', tier: 'core', area: 'setup', title: 'A machine is registered' },
  { id: 'S02', tier: 'core', area: 'setup', title: 'A machine is not registered' },
  { id: 'L001', tier: 'core', area: 'ssh', title: 'Three attempts' },
  { id: 'L002', tier: 'hardening', area: 'ssh', title: 'One attempt' },
  { id: 'L003', tier: 'later', area: 'ssh', title: 'No attempt' },
];

/**
 * Messages of one feature, as Cucumber writes them. `scenarios`: the tags of each, and the status of the one step in each
 * attempt; without attempts it was planned and never begun, with `planned: false` not even that.
 */
function messagesOf(scenarios, uri = 'features/nodes.feature') {
  const children = scenarios.map(({ line }, n) => ({ scenario: { id: `${uri} ast ${n}`, location: { line } } }));
  const messages = [{ gherkinDocument: { uri, feature: { children } } }];
  for (const [n, { tags, statuses = [], planned = true, ms = 1_500 }] of scenarios.entries()) {
    const id = `${uri} ${n}`;
    const step = { id: `${id} step`, text: `step of ${id}` };
    const named = tags.map((name) => ({ name: `@${name}` }));
    messages.push({ pickle: { id, uri, name: id, tags: named, steps: [step], astNodeIds: [`${uri} ast ${n}`] } });
    if (!planned) continue;
    const testSteps = [{ id: `${id} test step`, pickleStepId: step.id }];
    messages.push({ testCase: { id: `${id} case`, pickleId: id, testSteps } });
    for (const [attempt, status] of statuses.entries()) {
      const testCaseStartedId = `${id} attempt ${attempt}`;
      const timestamp = { seconds: 100, nanos: 0 };
      messages.push(
        { testCaseStarted: { id: testCaseStartedId, testCaseId: `${id} case`, attempt, timestamp } },
        { testStepFinished: { testCaseStartedId, testStepId: `${id} test step`, testStepResult: { status } } },
        {
          testCaseFinished: {
            testCaseStartedId,
            willBeRetried: attempt < statuses.length - 1,
            timestamp: { seconds: 100 + Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 },
          },
        },
      );
    }
  }
  return messages;
}

const resultsOf = (rows) => Object.fromEntries(rows.map(({ id, result }) => [id, result]));

test('a line of the index is as good as the worst of its scenarios', () => {
  const scenarios = readScenarios(
    messagesOf([
      { line: 4, tags: ['S01', 'L001'], statuses: ['PASSED'] },
      { line: 9, tags: ['S01'], statuses: ['FAILED'] },
      { line: 14, tags: ['S02'], statuses: ['PASSED'] },
    ]),
  );
  expect(toRows(index, scenarios)).toEqual([
    { id: 'S01', title: 'A machine is registered', places: 'nodes.feature:4, :9', result: 'failed', ms: 3_000 },
    { id: 'S02', title: 'A machine is not registered', places: 'nodes.feature:14', result: 'passed', ms: 1_500 },
    { id: 'L001', title: 'Three attempts', places: 'nodes.feature:4', result: 'passed', ms: 1_500 },
  ]);
});

test.each([
  ['SKIPPED', 'skipped'],
  ['PENDING', 'pending'],
  ['UNDEFINED', 'undefined'],
  ['AMBIGUOUS', 'failed'],
  ['UNKNOWN', 'failed'],
])('a scenario with a step that is %s has not passed: %s', (status, result) => {
  const scenarios = readScenarios(messagesOf([{ line: 4, tags: ['S01'], statuses: [status] }]));
  expect(resultsOf(toRows(index, scenarios))).toEqual({ S01: result, S02: 'missing' });
});

test('a scenario that passed when it was tried again has not passed', () => {
  const scenarios = readScenarios(messagesOf([{ line: 4, tags: ['S01'], statuses: ['PASSED', 'PASSED'] }]));
  expect(resultsOf(toRows(index, scenarios))).toEqual({ S01: 'retried', S02: 'missing' });
});

test('a scenario that was never begun, or chosen away, has not run', () => {
  const scenarios = readScenarios(
    messagesOf([
      { line: 4, tags: ['S01'] },
      { line: 9, tags: ['S02'], planned: false },
    ]),
  );
  expect(resultsOf(toRows(index, scenarios))).toEqual({ S01: 'not run', S02: 'not run' });
});

test('of a part that was chosen, only what was to run counts', () => {
  const scenarios = readScenarios(
    messagesOf([
      { line: 4, tags: ['S01'], statuses: ['PASSED'] },
      { line: 9, tags: ['S01', 'L001'], planned: false },
    ]),
  );
  expect(resultsOf(toRows(index, scenarios, { chosen: true }))).toEqual({ S01: 'passed' });
});

test('a line without a scenario is missing in the suite and is named below the table among the further ones', () => {
  const scenarios = readScenarios(messagesOf([{ line: 4, tags: ['S01', 'L001'], statuses: ['PASSED'] }]));
  const rows = toRows(index, scenarios);
  expect(resultsOf(rows)).toEqual({ S01: 'passed', S02: 'missing', L001: 'passed' });
  expect(render(index, rows, scenarios)).toContain('Not covered, core or hardening: L002\n');
});

test('a line that is open has not passed, whatever its tag stands on', () => {
  const open = index.map((entry) => (entry.id === 'S02' ? { ...entry, open: true } : entry));
  const scenarios = readScenarios(messagesOf([{ line: 4, tags: ['S01', 'S02'], statuses: ['PASSED'] }]));
  expect(resultsOf(toRows(open, scenarios))).toEqual({ S01: 'passed', S02: 'open' });
});

test('the rows of an outline count one by one and share a place', () => {
  const scenarios = readScenarios(
    messagesOf([
      { line: 4, tags: ['S01'], statuses: ['PASSED'] },
      { line: 4, tags: ['S01'], statuses: ['FAILED'] },
    ]),
  );
  expect(toRows(index, scenarios)[0]).toMatchObject({ places: 'nodes.feature:4', result: 'failed' });
});

test('a unit test stands for the line that its title begins with', () => {
  const report = {
    testResults: [
      {
        name: '/project/packages/kit/src/key.test.ts',
        assertionResults: [
          { title: 'L001: takes as long', status: 'passed', duration: 200 },
          { title: 'L002: costs little', status: 'pending', duration: null },
          { title: 'is something else', status: 'failed', duration: 3 },
        ],
      },
    ],
  };
  expect(toRows(index.slice(2), readUnitTests(report))).toEqual([
    { id: 'L001', title: 'Three attempts', places: 'key.test.ts', result: 'passed', ms: 200 },
    { id: 'L002', title: 'One attempt', places: 'key.test.ts', result: 'skipped', ms: 0 },
  ]);
});

test('the first step that failed is known', () => {
  const [scenario] = readScenarios(messagesOf([{ line: 4, tags: ['S01'], statuses: ['FAILED'] }]));
  expect(scenario.failedStep).toBe('step of features/nodes.feature 0');
});

test('the table has a line for each row, and the suite apart from the further behaviours', () => {
  const scenarios = readScenarios([
    ...messagesOf([{ line: 4, tags: ['S01', 'L001'], statuses: ['PASSED'] }]),
    ...messagesOf(
      [{ line: 52, tags: ['S02', 'L002'], statuses: ['PASSED'], ms: 20_000 }],
      'features/two-hosts.feature',
    ),
  ]);
  expect(render(index, toRows(index, scenarios), scenarios)).toBe(
    [
      'id   title                        feature               result  seconds',
      'S01  A machine is registered      nodes.feature:4       passed      1.5',
      'S02  A machine is not registered  two-hosts.feature:52  passed     20.0',
      '',
      'id    title           feature               result  seconds',
      'L001  Three attempts  nodes.feature:4       passed      1.5',
      'L002  One attempt     two-hosts.feature:52  passed     20.0',
      '',
      'Slowest: two-hosts.feature:52 20 s, nodes.feature:4 2 s',
      '',
    ].join('\n'),
  );
});

test('a run is good when all have passed in time', () => {
  const rows = toRows(index.slice(0, 1), readScenarios(messagesOf([{ line: 4, tags: ['S01'], statuses: ['PASSED'] }])));
  expect(judge(rows, { ms: 460_000, limitMs: 600_000 })).toEqual({
    text: '1 of 1 scenarios passed, 7 min 40 s.',
    problems: [],
  });
  expect(judge(rows, { ms: 601_000, limitMs: 600_000 }).problems).toEqual([
    'took 10 min 1 s, at most 10 min 0 s are allowed',
  ]);
  expect(judge(rows, { ms: 1_000, limitMs: 600_000, exitCode: 1 }).problems).toEqual([
    'Cucumber ended with exit code 1',
  ]);
  expect(judge([], { ms: 1_000, limitMs: 600_000 }).problems).toEqual(['nothing ran']);
});

test('what has not passed is named', () => {
  const scenarios = readScenarios(messagesOf([{ line: 4, tags: ['S01', 'L001'], statuses: ['SKIPPED'] }]));
  expect(judge(toRows(index, scenarios), { ms: 1_000, limitMs: 600_000 })).toEqual({
    text: '0 of 2 scenarios passed, 0 of 1 further behaviours passed, 1 s.',
    problems: ['S01: skipped', 'S02: missing', 'L001: skipped'],
  });
});

test('half a line at the end of a report is left out', () => {
  expect(parseMessages('{"meta":{}}\n{"pickle":{"id"')).toEqual([{ meta: {} }]);
});
