import { RbeeError } from '@rbee/protocol';
import type { Logger } from './logger.js';
import { Secret } from './secret-file.js';

/** What a refusal names the service by, where nothing better is known. */
const THIS_SERVICE = 'this service';

/**
 * Checks an Authorization header against the keys of which any one counts. Returns the fingerprint of the key that was
 * shown, `a3f2c1`, or nothing where no key is needed. Throws MISSING_API_KEY or INVALID_API_KEY, whose message and details
 * name the service that refused: on the way from the user to a worker there are three that may.
 */
export function checkBearer(
  header: string | undefined,
  keys: Secret | readonly Secret[] | undefined,
  log: Logger,
  service = THIS_SERVICE,
): string | undefined {
  const accepted = keys instanceof Secret ? [keys] : (keys ?? []);
  if (accepted.length === 0) return undefined;
  const refuse = (code: 'MISSING_API_KEY' | 'INVALID_API_KEY', reason: string, message: string, identity?: string) => {
    log.warn({ reason, ...(identity ? { identity } : {}) }, 'authentication failed');
    const details = service === THIS_SERVICE ? { reason } : { reason, service };
    return new RbeeError(code, message, { details });
  };
  if (header === undefined)
    throw refuse('MISSING_API_KEY', 'missing_header', `${service} needs a key: no Authorization header was sent`);
  const match = /^Bearer (\S(?:.*\S)?)$/.exec(header);
  if (/^Bearer *$/.test(header))
    throw refuse('MISSING_API_KEY', 'empty_token', `${service} needs a key: the Authorization header holds none`);
  if (!match?.[1]) {
    throw refuse(
      'MISSING_API_KEY',
      'invalid_format',
      `${service} needs a key: the Authorization header must be "Bearer", one space and the key`,
    );
  }
  const found = findKey(match[1], accepted);
  if (!found) {
    const message = service === THIS_SERVICE ? 'the key was rejected' : `${service} rejected the key`;
    throw refuse('INVALID_API_KEY', 'invalid_token', message, Secret.fromHeader(match[1]).fingerprint);
  }
  log.info({ identity: found.fingerprint }, 'authenticated');
  return fingerprintOf(found);
}

/** The six hexadecimal digits by which a key is known. */
export function fingerprintOf(key: Secret): string {
  return key.fingerprint.replace(/^token:/, '');
}

/** Compares with every key, so that the time taken does not tell which one came near. */
function findKey(given: string, keys: readonly Secret[]): Secret | undefined {
  // A header holds bytes: of UTF-8, as this project and curl send them, or one for each letter, as other programs do.
  const readings = [Secret.fromHeader(given), new Secret(given)];
  let found: Secret | undefined;
  for (const key of keys) {
    for (const reading of readings) if (key.matches(reading)) found = key;
  }
  for (const reading of readings) reading.dispose();
  return found;
}
