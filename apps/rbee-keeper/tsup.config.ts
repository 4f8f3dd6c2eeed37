import { defineConfig } from 'tsup';
import { bundle, type Plugin, pureWorkspacePackages } from '../../tsup.base.js';

/** yargs measures text only for its own help, which is not used here; loading its tables takes 25 ms of every start. */
const plainWidth: Plugin = {
  name: 'plain-width',
  setup(build) {
    build.onResolve({ filter: /^string-width$/ }, ({ path }) => ({ path, namespace: 'plain-width' }));
    build.onLoad({ filter: /./, namespace: 'plain-width' }, () => ({
      contents: 'export default (text) => text.length',
    }));
  },
};

export default defineConfig({ ...bundle, noExternal: [/./], esbuildPlugins: [pureWorkspacePackages, plainWidth] });
