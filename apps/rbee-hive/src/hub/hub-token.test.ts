import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Secret } from '@rbee/daemon-kit';
import { readHubToken } from './hub-token.js';

describe('the token for the hub', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbee-token-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const read = (token?: string, tokenFile = join(folder, 'token')) =>
    readHubToken({ endpoint: 'http://hub', tokenFile, token: token === undefined ? undefined : new Secret(token) });

  it('may be missing', async () => {
    await expect(read()).resolves.toBeUndefined();
    await expect(read(undefined, join(folder, 'token', 'below'))).resolves.toBeUndefined();
    await writeFile(join(folder, 'token'), '\n');
    await expect(read()).resolves.toBeUndefined();
  });

  it('comes from the environment, else from its file', async () => {
    await writeFile(join(folder, 'token'), 'hf_fromFile\n');
    expect((await read('hf_fromEnvironment'))?.reveal()).toBe('hf_fromEnvironment');
    expect((await read())?.reveal()).toBe('hf_fromFile');
  });

  it('is refused, without being shown, when it cannot be one', async () => {
    await writeFile(join(folder, 'token'), 'hf_first\nX-Other: header');
    const refused = read();
    await expect(refused).rejects.toMatchObject({ code: 'MODEL_ACCESS_DENIED', suggestion: expect.any(String) });
    await expect(refused).rejects.not.toThrow('hf_first');
  });
});
