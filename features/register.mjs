/**
 * Lets Cucumber load step definitions in TypeScript. A loader in NODE_OPTIONS would do the same, but every daemon that a
 * scenario starts would inherit it.
 */
import { register } from 'tsx/esm/api';

register();
