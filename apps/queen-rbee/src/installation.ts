import { fileURLToPath } from 'node:url';

/**
 * The checkout or release that this program belongs to, with `apps` and `models` in it: two folders above this file's,
 * in the sources and in the bundle alike.
 */
export const INSTALLATION = fileURLToPath(new URL('../../../', import.meta.url));
