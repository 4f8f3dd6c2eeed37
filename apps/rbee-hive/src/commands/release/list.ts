import { defineCommand, printJson } from '../command.js';
import { readRoot } from './root.js';

export const releaseList = defineCommand({
  name: 'release list',
  usage: 'release list --root <folder>',
  options: { root: { type: 'string' } },
  async run({ root }, { environment }) {
    const releases = readRoot(root, environment);
    printJson(environment, { releases: await releases.list(), current: (await releases.current()) ?? null });
    return 0;
  },
});
