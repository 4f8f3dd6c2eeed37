/**
 * What must hold between the scenario index, the features, Cucumber's configuration and the list of mutations, so that
 * "all passed" means what it says.
 *
 * @typedef {import('./scenario-table.mjs').IndexEntry} IndexEntry
 * @typedef {import('./scenario-table.mjs').Scenario} Scenario
 */
import { isSuiteId } from './scenario-table.mjs';

const IDS = [...numbered('S', 62, 2), ...numbered('L', 177, 3)];
const TIERS = ['core', 'hardening', 'later'];
const INDEX = 'features/scenario-index.json';
/** Tags that are no line of the index: what a scenario needs, and is skipped without. */
const NEEDS = ['two-hosts'];
/** Steps that skip their scenario where the machine or the user lacks what it takes. */
const MAY_SKIP = ['features/step_definitions/downloads.ts', 'features/step_definitions/network.ts'];
const SKIPS = /['"`](skipped|pending)['"`]/;
/** Each of them lets a run pass that has not passed whole and at once. */
const FORBIDDEN_OPTIONS = ['retry', 'retryTagFilter', 'failFast', 'name', 'dryRun', 'paths'];

function numbered(letter, count, digits) {
  return Array.from({ length: count }, (_, n) => `${letter}${String(n + 1).padStart(digits, '0')}`);
}

/**
 * The index itself, and the unit tests that it names.
 *
 * @param {IndexEntry[]} index
 * @param {(file: string) => string | undefined} read
 */
export function checkIndex(index, read) {
  const problems = [];
  const ids = index.map(({ id }) => id);
  for (const id of IDS) if (!ids.includes(id)) problems.push(`${INDEX}: ${id} is missing`);
  for (const id of ids) if (!IDS.includes(id)) problems.push(`${INDEX}: there is no ${id}: S01 to S62, L001 to L177`);
  for (const id of new Set(ids.filter((each, n) => ids.indexOf(each) !== n)))
    problems.push(`${INDEX}: ${id} is there more than once`);
  for (const { id, tier, area, title, open, unit } of index) {
    if (!TIERS.includes(tier)) problems.push(`${INDEX}: ${id} has the tier ${tier}: give one of ${TIERS.join(', ')}`);
    if (!area || !title) problems.push(`${INDEX}: ${id} has no area or no title`);
    if (open !== undefined && (open !== true || !isSuiteId(id)))
      problems.push(`${INDEX}: ${id}: "open" is true or left out, and for S lines only`);
    if (unit !== undefined && !new RegExp(`\\b(it|test)\\('${id}: `).test(read(unit) ?? ''))
      problems.push(`${INDEX}: ${id}: ${unit} has no test whose title begins with "${id}: "`);
  }
  return problems;
}

/**
 * Every tag stands in the index; every S line has at least one scenario of its own, which carries no other S tag, unless
 * the index says that it is open.
 *
 * @param {IndexEntry[]} index
 * @param {Scenario[]} scenarios
 */
export function checkTags(index, scenarios) {
  const problems = new Set();
  const known = new Set([...index.map(({ id }) => id), ...NEEDS]);
  const open = new Set(index.filter((entry) => entry.open).map(({ id }) => id));
  const withOwn = new Set();
  for (const { uri, line, tags } of scenarios) {
    for (const tag of tags)
      if (!known.has(tag)) problems.add(`${uri}:${line}: the tag @${tag} is no line of ${INDEX}: correct or remove it`);
    const suiteIds = tags.filter(isSuiteId).filter((tag) => known.has(tag));
    if (suiteIds.length > 0 && tags.some((tag) => NEEDS.includes(tag)))
      problems.add(
        `${uri}:${line}: ${suiteIds.join(' and ')} must not depend on what a machine may lack: remove the tag`,
      );
    if (suiteIds.length === 1) withOwn.add(suiteIds[0]);
    if (suiteIds.length > 1 && !suiteIds.some((id) => open.has(id)))
      problems.add(`${uri}:${line}: ${suiteIds.join(' and ')} share a scenario: give each one of its own`);
  }
  for (const { id } of index.filter((entry) => isSuiteId(entry.id))) {
    if (open.has(id) && withOwn.has(id)) problems.add(`${INDEX}: ${id} has a scenario of its own: remove its "open"`);
    if (!open.has(id) && !withOwn.has(id)) problems.add(`${INDEX}: ${id} has no scenario of its own: write one`);
  }
  return [...problems];
}

/**
 * A plain run runs everything, a run of the index all of the index, and neither tries anything again.
 *
 * @param {IndexEntry[]} index
 * @param {Record<string, Record<string, unknown>>} profiles
 */
export function checkProfiles(index, profiles) {
  const problems = [];
  for (const name of ['default', 'scenarios']) {
    const profile = profiles[name] ?? {};
    for (const option of FORBIDDEN_OPTIONS)
      if (option in profile) problems.push(`cucumber.js: the profile ${name} must not set ${option}`);
    if (profile.strict !== true) problems.push(`cucumber.js: the profile ${name} must be strict`);
  }
  if (profiles.default?.tags !== undefined) problems.push('cucumber.js: the profile default must not choose by tags');
  const chosen = String(profiles.scenarios?.tags).split(' or ').sort().join(' ');
  const wanted = index
    .map(({ id }) => `@${id}`)
    .sort()
    .join(' ');
  if (chosen !== wanted) problems.push('cucumber.js: the profile scenarios must choose all lines of the index by tags');
  return problems;
}

/**
 * Nothing skips a scenario but the steps that ask the machine for something it may lack.
 *
 * @param {{ path: string, text: string }[]} sources
 */
export function checkSkips(sources) {
  return sources
    .filter(({ path, text }) => SKIPS.test(text) && !MAY_SKIP.includes(path))
    .map(({ path }) => `${path}: skips a scenario or leaves it pending: let it fail with the reason`);
}

/**
 * Each mutation applies to exactly one place of its file, and the step that is to fail is there.
 *
 * @param {import('./mutations.mjs').Mutation[]} mutations
 * @param {Scenario[]} scenarios
 * @param {(file: string) => string | undefined} read
 */
export function checkMutations(mutations, scenarios, read) {
  return mutations.flatMap(({ id, feature, file, find, replace, step }) => {
    const at = `features/mutations.json: ${id}`;
    const problems = [];
    const count = (read(file) ?? '').split(find).length - 1;
    if (count !== 1) problems.push(`${at}: ${JSON.stringify(find)} is ${count} times in ${file}, expected once`);
    if (find === replace) problems.push(`${at}: changes nothing`);
    const guards = scenarios.filter(({ uri, tags }) => uri === feature && tags.includes(id));
    if (guards.length === 0) problems.push(`${at}: ${feature} has no scenario with this tag`);
    else if (!guards.some(({ steps }) => steps.includes(step)))
      problems.push(`${at}: ${feature} has no step "${step}" in a scenario with this tag`);
    return problems;
  });
}
