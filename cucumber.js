import { readFileSync } from 'node:fs';

const suite = {
  import: ['features/register.mjs', 'features/support/**/*.ts', 'features/step_definitions/**/*.ts'],
  strict: true,
  parallel: 2,
  publish: false,
};

export default {
  ...suite,
  format: ['progress', 'html:reports/cucumber.html', 'message:reports/cucumber.ndjson'],
};

const index = JSON.parse(readFileSync(new URL('features/scenario-index.json', import.meta.url), 'utf8'));

/** What the scenario index lists; scripts/scenarios.mjs adds its own report. */
export const scenarios = {
  ...suite,
  tags: index.map(({ id }) => `@${id}`).join(' or '),
  format: ['progress'],
};
