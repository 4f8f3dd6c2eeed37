import { expect, it } from '@jest/globals';
import { isBindingError } from './binding-error.js';

it.each([
  ['a binding that was never compiled', new Error('Could not locate the bindings file. Tried: ...'), true],
  ['one for another Node.js', Object.assign(new Error('NODE_MODULE_VERSION 115'), { code: 'ERR_DLOPEN_FAILED' }), true],
  ['a file that is no database', Object.assign(new Error('no database'), { code: 'SQLITE_NOTADB' }), false],
])('knows %s', (_name, error, expected) => {
  expect(isBindingError(error)).toBe(expected);
});
