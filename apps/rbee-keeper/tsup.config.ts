import { defineConfig, type Options } from 'tsup';
import { bundle } from '../../tsup.base.js';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/**
 * The workspace packages only define things. Knowing that, the bundler leaves out of each chunk what the chunk does not
 * use of them, so that `--version` and `--help` load no schemas.
 */
const pureWorkspacePackages: Plugin = {
  name: 'pure-workspace-packages',
  setup(build) {
    build.onResolve({ filter: /^(@rbee\/|\.\.?\/)/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (pluginData === 'resolving') return undefined;
      const resolved = await build.resolve(path, { kind, importer, resolveDir, pluginData: 'resolving' });
      return /[\\/]packages[\\/]/.test(resolved.path) ? { ...resolved, sideEffects: false } : resolved;
    });
  },
};

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
