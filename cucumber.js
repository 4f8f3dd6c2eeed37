export default {
  import: ['features/register.mjs', 'features/support/**/*.ts', 'features/step_definitions/**/*.ts'],
  strict: true,
  parallel: 2,
  publish: false,
  format: ['progress', 'html:reports/cucumber.html', 'message:reports/cucumber.ndjson'],
};
