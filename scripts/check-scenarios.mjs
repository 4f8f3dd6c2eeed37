/** Checks that index, features, Cucumber's configuration and mutations fit together; runs no scenario. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import * as profiles from '../cucumber.js';
import { root } from './run.mjs';
import { checkIndex, checkMutations, checkProfiles, checkSkips, checkTags } from './scenario-rules.mjs';
import { readScenarios } from './scenario-table.mjs';

// The parser that Cucumber itself uses: one of another version might read a feature differently.
const { generateMessages } = createRequire(createRequire(import.meta.url).resolve('@cucumber/cucumber'))(
  '@cucumber/gherkin',
);

const read = (path) => readFileSync(join(root, path), 'utf8');
const readIfThere = (path) => (existsSync(join(root, path)) ? read(path) : undefined);

/** All scenarios, from the features alone. */
function parseFeatures() {
  let ids = 0;
  const options = { includeGherkinDocument: true, includePickles: true, newId: () => String(ids++) };
  const messages = filesBelow('features', '.feature').flatMap((path) =>
    generateMessages(read(path), path, 'text/x.cucumber.gherkin+plain', options),
  );
  const errors = messages.flatMap(({ parseError }) =>
    parseError ? [`${parseError.source.uri}: ${parseError.message}`] : [],
  );
  return { scenarios: readScenarios(messages), errors };
}

function filesBelow(folder, ending) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`)
    .sort();
}

const index = JSON.parse(read('features/scenario-index.json'));
const mutations = JSON.parse(read('features/mutations.json'));
const { scenarios, errors } = parseFeatures();
const problems = [
  ...errors,
  ...checkIndex(index, readIfThere),
  ...checkTags(index, scenarios),
  ...checkProfiles(index, profiles),
  ...checkSkips(filesBelow('features', '.ts').map((path) => ({ path, text: read(path) }))),
  ...checkMutations(mutations, scenarios, readIfThere),
];
for (const problem of problems) console.error(problem);
if (problems.length === 0) {
  const open = index.filter((entry) => entry.open).map(({ id }) => id);
  console.log(`The scenario index and the features fit together${open.length > 0 ? `; open: ${open.join(' ')}` : ''}.`);
}
process.exitCode = problems.length === 0 ? 0 : 1;
