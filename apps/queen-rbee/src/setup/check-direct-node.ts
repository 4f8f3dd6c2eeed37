import {
  type Clock,
  type Logger,
  type Narrate,
  orAborted,
  readSecretFile,
  type Secret,
  type Timeouts,
} from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import { DirectLink } from '../link/direct-link.js';
import type { HiveHealth } from '../link/link.js';
import { checkHiveVersion } from '../node/check-version.js';
import { askCapabilities, completeCapabilities } from './capabilities.js';
import type { Findings } from './findings.js';
import type { DirectAddress, NodeDraft } from './node-draft.js';

export interface DirectCheckParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/**
 * Asks a hive that is reached without SSH for its health, its version, and with its key for its backends. Throws
 * INVALID_PATH for a key file that cannot be used, CONNECTION_TIMEOUT, VERSION_MISMATCH and what the hive answers.
 */
export async function checkDirectNode(
  parts: DirectCheckParts,
  { name, capabilities, installPath }: NodeDraft,
  { url, tokenFile }: DirectAddress,
  narrate: Narrate,
  signal: AbortSignal,
): Promise<Findings> {
  const key = readKey(tokenFile);
  const link = new DirectLink({ ...parts, node: name, url, readKey: () => key });
  try {
    const health = await findHive(link, narrate, signal);
    checkHiveVersion(name, health.version);
    const found = await askCapabilities(link.hive, parts.timeouts.hive_connect, signal).catch((error: unknown) => {
      throw isRbeeError(error) && error.code === 'INVALID_API_KEY' ? keyRefused(error, name) : error;
    });
    return { hostKeys: {}, installPath, nodePath: undefined, ...completeCapabilities(capabilities, found) };
  } finally {
    await link.close();
  }
}

async function findHive(link: DirectLink, narrate: Narrate, signal: AbortSignal): Promise<HiveHealth> {
  try {
    return await orAborted(link.startHive(narrate), signal);
  } catch (error) {
    if (!isRbeeError(error) || error.code !== 'CONNECTION_TIMEOUT') throw error;
    throw notFound(error);
  }
}

/** With advice for a node that no other command knows yet. */
function notFound(cause: RbeeError): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', cause.message, {
    details: cause.details,
    suggestion:
      'check that the hive runs there and listens on that address, with a key: rbee-hive daemon --host ADDRESS',
    cause,
  });
}

/** In the words of the flag that was given: the general advice is about the queen's own key. */
function keyRefused(cause: RbeeError, name: string): RbeeError {
  return new RbeeError('INVALID_API_KEY', `the hive of ${name} does not accept the key in that file`, {
    details: { node: name },
    suggestion:
      'put the key that this hive was started with (its auth.api_token_file) into the file that --hive-token-file names',
    cause,
  });
}

function readKey(file: string): Secret {
  try {
    return readSecretFile(file);
  } catch (cause) {
    if (!isRbeeError(cause)) throw cause;
    throw unusableKey(cause, file);
  }
}

/** The reason without the path, which the caller has given and others need not learn. */
function unusableKey(cause: RbeeError, file: string): RbeeError {
  return new RbeeError('INVALID_PATH', cause.message.replaceAll(` ${file}`, ''), {
    details: { field: 'hive_token_file' },
    suggestion: "copy the key that the hive uses into a file of your own on the queen's machine, and chmod 600 it",
    cause,
  });
}
