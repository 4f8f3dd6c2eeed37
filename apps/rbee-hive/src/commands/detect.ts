import { loadHiveConfig } from '../config.js';
import { renderDetection, toDetection } from '../probe/detection.js';
import { MachineProbe } from '../probe/machine-probe.js';
import { defineCommand, printJson } from './command.js';

export const detect = defineCommand({
  name: 'detect',
  usage: 'detect [--json] [--config <file>]',
  options: { json: { type: 'boolean' }, config: { type: 'string' } },
  async run({ json, config }, { environment }) {
    const { modelsDir, probeFile } = loadHiveConfig(environment, { config });
    const probe = new MachineProbe({ platform: environment.platform, modelsDir, probeFile });
    const detection = toDetection((await probe.snapshot()).backends);
    if (json) printJson(environment, detection);
    else environment.stdout.write(renderDetection(detection));
    return 0;
  },
});
