import { defineConfig } from 'tsup';
import { bundle } from '../../tsup.base.js';

export default defineConfig({
  ...bundle,
  // Kysely is some 200 small modules, which take longer to find than to run.
  noExternal: [...(bundle.noExternal ?? []), 'kysely'],
});
