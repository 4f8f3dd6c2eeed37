import { RbeeError } from '@rbee/protocol';

/** The 503 of a queen that takes nothing new. */
export function shuttingDown(): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', 'this queen is shutting down and takes nothing new', {
    details: { service: 'queen-rbee', reason: 'shutting_down' },
    suggestion: 'repeat the command when it has ended; it then starts a new queen',
  });
}
