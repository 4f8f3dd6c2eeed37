import { loadHiveConfig } from '../config.js';
import { runSelfTest } from '../self-test/self-test.js';
import { defineCommand, printJson } from './command.js';

export const selfTest = defineCommand({
  name: 'self-test',
  usage: 'self-test [--config <file>]',
  options: { config: { type: 'string' } },
  async run({ config }, { environment, installation }) {
    const { catalogDb } = loadHiveConfig(environment, { config });
    const report = await runSelfTest(environment, { installation, catalogDb });
    printJson(environment, report);
    return report.ok ? 0 : 1;
  },
});
