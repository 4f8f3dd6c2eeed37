import { fileURLToPath } from 'node:url';
import type { HiveInstallation } from './app.js';

/** The folder that holds `apps` and `models`: two above this file's folder, in the sources and in the bundle alike. */
const PROJECT = new URL('../../../', import.meta.url);

/** The folder of this installation: a checkout, or a release on a node. Symbolic links are resolved. */
export const INSTALLATION_ROOT = fileURLToPath(new URL('.', PROJECT)).replace(/(?<=.)\/$/, '');

/** Where the model files lie that come with rbee. */
export const BUNDLED_MODELS_DIR = fileURLToPath(new URL('models/', PROJECT));

/** What a normal installation is built from. */
export const THIS_INSTALLATION: HiveInstallation = {
  workerProgram: { path: fileURLToPath(new URL('apps/llm-worker/bin/llm-worker-rbee.js', PROJECT)) },
  hubProgram: { path: fileURLToPath(new URL('apps/rbee-hive/dist/hub-client.js', PROJECT)) },
  bundledModelsDir: BUNDLED_MODELS_DIR,
};
