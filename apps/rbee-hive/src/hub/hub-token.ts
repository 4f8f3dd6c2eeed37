import { readFile } from 'node:fs/promises';
import { Secret } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { HubSettings } from '../config.js';

/** Longer than any token. */
const MAX_LENGTH = 4096;

/**
 * The token for the hub: from the environment, else from its file, which is read anew each time and may be missing.
 * `redact` hides it until it is disposed of. Throws MODEL_ACCESS_DENIED when what is there cannot be a token.
 */
export async function readHubToken({ token, tokenFile }: HubSettings): Promise<Secret | undefined> {
  const text = (token?.reveal() ?? (await readIfThere(tokenFile)))?.trim();
  if (!text) return undefined;
  if (text.length <= MAX_LENGTH && /^[\x21-\x7e]+$/.test(text)) return new Secret(text).remember();
  const source = token ? 'HF_TOKEN' : 'the token file of the hub';
  throw new RbeeError(
    'MODEL_ACCESS_DENIED',
    `${source} holds no token: a token is one word of plain letters and digits`,
    {
      suggestion: `write a token there as the hub shows it on its page of access tokens, or remove it`,
    },
  );
}

/** A file that this user may not read is as good as missing: most models need no token. */
async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'EISDIR'].includes(code)) return undefined;
    throw error;
  }
}
