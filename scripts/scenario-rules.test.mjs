import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { checkIndex, checkMutations, checkProfiles, checkSkips, checkTags } from './scenario-rules.mjs';

const index = [
  { id: 'S01', tier: 'core', area: 'setup', title: 'A machine is registered' },
  { id: 'S02', tier: 'core', area: 'setup', title: 'A machine is not registered' },
  { id: 'L001', tier: 'core', area: 'ssh', title: 'Three attempts' },
];
const whole = JSON.parse(readFileSync(new URL('../features/scenario-index.json', import.meta.url), 'utf8'));
const open = index.map((entry) => (entry.id === 'S02' ? { ...entry, open: true } : entry));
const scenario = (line, tags, steps = []) => ({ uri: 'features/nodes.feature', line, tags, steps });

test('the index of this project is whole', () => {
  expect(checkIndex(whole, (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8'))).toEqual([]);
});

test('an index that lacks a line, repeats one, or has one too many is refused', () => {
  const [first, second, ...rest] = whole.map(({ unit, ...entry }) => entry);
  const read = () => undefined;
  const odd = [
    { ...first, id: 'S63' },
    { ...first, tier: 'soon', title: '' },
  ];
  expect(checkIndex([second, second, ...rest, ...odd], read)).toEqual([
    'features/scenario-index.json: there is no S63: S01 to S62, L001 to L177',
    'features/scenario-index.json: S02 is there more than once',
    'features/scenario-index.json: S01 has the tier soon: give one of core, hardening, later',
    'features/scenario-index.json: S01 has no area or no title',
  ]);
  expect(checkIndex(rest, read)).toContain('features/scenario-index.json: S01 is missing');
});

test('a unit test that stands for a line has to be there', () => {
  const entries = whole.map(({ unit, ...entry }) => (entry.id === 'L115' ? { ...entry, unit: 'key.test.ts' } : entry));
  expect(checkIndex(entries, () => "  it('L115: takes as long', () => {")).toEqual([]);
  const missing = 'features/scenario-index.json: L115: key.test.ts has no test whose title begins with "L115: "';
  expect(checkIndex(entries, () => "  it('takes as long', () => {")).toEqual([missing]);
  expect(checkIndex(entries, () => undefined)).toEqual([missing]);
});

test('each S line has a scenario of its own; L lines share theirs', () => {
  const scenarios = [scenario(4, ['S01', 'L001']), scenario(9, ['L001', 'two-hosts']), scenario(14, ['S02'])];
  expect(checkTags(index, scenarios)).toEqual([]);
});

test('S lines that share a scenario are told, and where', () => {
  expect(checkTags(index, [scenario(4, ['S01', 'S02']), scenario(9, ['S01'])])).toEqual([
    'features/nodes.feature:4: S01 and S02 share a scenario: give each one of its own',
    'features/scenario-index.json: S02 has no scenario of its own: write one',
  ]);
});

test('an S line does not depend on what a machine may lack', () => {
  expect(checkTags(index, [scenario(4, ['S01']), scenario(9, ['S02']), scenario(14, ['S02', 'two-hosts'])])).toEqual([
    'features/nodes.feature:14: S02 must not depend on what a machine may lack: remove the tag',
  ]);
});

test('a tag that the index does not have is told', () => {
  expect(checkTags(index, [scenario(4, ['S01', 'L999']), scenario(9, ['S02', 'wip'])])).toEqual([
    'features/nodes.feature:4: the tag @L999 is no line of features/scenario-index.json: correct or remove it',
    'features/nodes.feature:9: the tag @wip is no line of features/scenario-index.json: correct or remove it',
  ]);
});

test('a line is open as long as it has no scenario of its own, and no longer', () => {
  expect(checkTags(open, [scenario(4, ['S01'])])).toEqual([]);
  expect(checkTags(open, [scenario(4, ['S01', 'S02']), scenario(9, ['S01'])])).toEqual([]);
  expect(checkTags(open, [scenario(4, ['S01']), scenario(9, ['S02'])])).toEqual([
    'features/scenario-index.json: S02 has a scenario of its own: remove its "open"',
  ]);
});

test('profiles that choose, retry or forgive are refused', () => {
  const scenarios = { strict: true, tags: '@S01 or @S02 or @L001' };
  expect(checkProfiles(index, { default: { strict: true }, scenarios })).toEqual([]);
  expect(
    checkProfiles(index, {
      default: { strict: false, tags: 'not @slow' },
      scenarios: { ...scenarios, retry: 1, tags: '@S01' },
    }),
  ).toEqual([
    'cucumber.js: the profile default must be strict',
    'cucumber.js: the profile scenarios must not set retry',
    'cucumber.js: the profile default must not choose by tags',
    'cucumber.js: the profile scenarios must choose all lines of the index by tags',
  ]);
});

test('only the steps that ask the machine may skip', () => {
  const text = "if (!able) return 'skipped';";
  expect(checkSkips([{ path: 'features/step_definitions/network.ts', text }])).toEqual([]);
  expect(checkSkips([{ path: 'features/step_definitions/nodes.ts', text }])).toEqual([
    'features/step_definitions/nodes.ts: skips a scenario or leaves it pending: let it fail with the reason',
  ]);
});

test('a mutation applies to one place and names a step of its scenario', () => {
  const mutation = {
    id: 'S01',
    feature: 'features/nodes.feature',
    step: 'the exit code is 0',
    file: 'apps/queen.ts',
    find: 'a + b',
    replace: 'a - b',
  };
  const scenarios = [scenario(4, ['S01'], ['a queen runs', 'the exit code is 0'])];
  const read = () => 'return a + b;';
  expect(checkMutations([mutation], scenarios, read)).toEqual([]);
  expect(checkMutations([{ ...mutation, find: 'c' }], scenarios, read)).toEqual([
    'features/mutations.json: S01: "c" is 0 times in apps/queen.ts, expected once',
  ]);
  expect(checkMutations([mutation], scenarios, () => undefined)).toHaveLength(1);
  expect(checkMutations([{ ...mutation, step: 'the exit code is 1' }], scenarios, read)).toEqual([
    'features/mutations.json: S01: features/nodes.feature has no step "the exit code is 1" in a scenario with this tag',
  ]);
  expect(checkMutations([{ ...mutation, id: 'S02' }], scenarios, read)).toEqual([
    'features/mutations.json: S02: features/nodes.feature has no scenario with this tag',
  ]);
});
