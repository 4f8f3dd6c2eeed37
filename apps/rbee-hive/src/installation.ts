import { fileURLToPath } from 'node:url';

/** The folder that holds `apps` and `models`: two above this file's folder, in the sources and in the bundle alike. */
const PROJECT = new URL('../../../', import.meta.url);

/** Where the model files lie that come with rbee. */
export const BUNDLED_MODELS_DIR = fileURLToPath(new URL('models/', PROJECT));

/** The program that every worker of a normal installation runs. */
export const WORKER_PROGRAM = fileURLToPath(new URL('apps/llm-worker/bin/llm-worker-rbee.js', PROJECT));
