import { inspect } from 'node:util';
import { expect, it } from '@jest/globals';
import { isRbeeError } from '@rbee/protocol';
import { parseConfigFile } from './config-file.js';

it('gives what a file says', () => {
  expect(parseConfigFile('rbee.toml', '[queen]\nport = 8080\n')).toEqual({ queen: { port: 8080 } });
});

it.each([
  ['a key without quotes', 'token = s3cret-value\n'],
  ['a text without an end', 'token = "s3cret-value\n'],
  ['a line that says something twice', 'token = "s3cret-value" s3cret-value\n'],
])('says where a mistake is, and quotes nothing of the file, in no form: %s', (_what, text) => {
  try {
    parseConfigFile('rbee.toml', `[auth]\n${text}`);
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/^rbee\.toml is not valid TOML, line 2: [a-z-]/),
      details: { file: 'rbee.toml', line: 2, column: expect.any(Number) },
      suggestion: 'correct or remove rbee.toml',
    });
    expect(inspect(error, { depth: 9, showHidden: true }) + error.stack).not.toContain('s3cret');
    return;
  }
  throw new Error('the file was accepted');
});
