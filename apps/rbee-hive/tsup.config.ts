import { defineConfig, type Options } from 'tsup';
import { bundle } from '../../tsup.base.js';

type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/**
 * The workspace packages only define things. Knowing that, the bundler leaves out of the hub client, of which one is
 * started for each file, what it does not use of them: a server, a logger and schemas.
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

export default defineConfig({
  ...bundle,
  // The command line is a module of its own, so that a launcher with another installation can be built on it.
  entry: { main: 'src/main.ts', cli: 'src/cli.ts', 'hub-client': 'src/hub/hub-client.ts' },
  // Kysely is some 200 small modules, which take longer to find than to run. Of the hub's library one function is used.
  noExternal: [...(bundle.noExternal ?? []), 'kysely', '@huggingface/hub', 'undici'],
  esbuildPlugins: [pureWorkspacePackages],
});
