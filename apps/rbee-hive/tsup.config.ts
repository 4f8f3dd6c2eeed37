import { defineConfig } from 'tsup';
import { bundle } from '../../tsup.base.js';

export default defineConfig({
  ...bundle,
  // The command line is a module of its own, so that a launcher with another installation can be built on it.
  entry: ['src/main.ts', 'src/cli.ts'],
  // Kysely is some 200 small modules, which take longer to find than to run.
  noExternal: [...(bundle.noExternal ?? []), 'kysely'],
});
