import { RbeeError } from '@rbee/protocol';
import type { Logger } from './logger.js';
import { Secret } from './secret-file.js';

/** Checks an Authorization header against a service's key. Throws MISSING_API_KEY or INVALID_API_KEY; without a key every caller passes. */
export function checkBearer(header: string | undefined, key: Secret | undefined, log: Logger): void {
  if (!key) return;
  const refuse = (code: 'MISSING_API_KEY' | 'INVALID_API_KEY', reason: string, message: string, identity?: string) => {
    log.warn({ reason, ...(identity ? { identity } : {}) }, 'authentication failed');
    return new RbeeError(code, message, { details: { reason } });
  };
  if (header === undefined)
    throw refuse('MISSING_API_KEY', 'missing_header', 'this service needs a key: no Authorization header was sent');
  const match = /^Bearer (\S(?:.*\S)?)$/.exec(header);
  if (/^Bearer *$/.test(header))
    throw refuse('MISSING_API_KEY', 'empty_token', 'this service needs a key: the Authorization header holds none');
  if (!match?.[1]) {
    throw refuse(
      'MISSING_API_KEY',
      'invalid_format',
      'the Authorization header must be "Bearer", one space and the key',
    );
  }
  if (!key.matches(match[1])) {
    throw refuse('INVALID_API_KEY', 'invalid_token', 'the key was rejected', new Secret(match[1]).fingerprint);
  }
  log.info({ identity: key.fingerprint }, 'authenticated');
}
