import { defineConfig } from 'tsup';
import { bundle, pureWorkspacePackages } from '../../tsup.base.js';

export default defineConfig({
  ...bundle,
  // The command line is a module of its own, so that a launcher with another installation can be built on it.
  entry: { main: 'src/main.ts', cli: 'src/cli.ts', 'hub-client': 'src/hub/hub-client.ts' },
  // Kysely and prom-client are many small modules, which take longer to find than to run. Of the hub's library one function
  // is used.
  noExternal: [...(bundle.noExternal ?? []), 'kysely', 'prom-client', '@huggingface/hub', 'undici'],
  esbuildPlugins: [pureWorkspacePackages],
});
