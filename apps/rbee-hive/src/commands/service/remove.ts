import { chooseServiceManager } from '../../service/choose-manager.js';
import { defineCommand, printJson } from '../command.js';

export const serviceRemove = defineCommand({
  name: 'service remove',
  usage: 'service remove',
  options: {},
  async run(_flags, { environment }) {
    printJson(environment, { removed: await chooseServiceManager(environment).remove() });
    return 0;
  },
});
