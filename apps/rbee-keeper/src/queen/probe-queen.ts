import { callJson, type Target } from '@rbee/daemon-kit/client';
import { isCompatibleVersion, isRbeeError, queenRoutes, RbeeError, VERSION } from '@rbee/protocol';

/** What a queen says about itself. */
export interface QueenHealth {
  readonly version: string;
  readonly pid?: number | undefined;
}

/** `absent`: nobody listens there; `silent`: somebody does, but did not answer in time. */
export type Probe = { readonly state: 'absent' | 'silent' } | { readonly state: 'up'; readonly health: QueenHealth };

/** Asks for a queen's health. Throws QUEEN_UNREACHABLE when something else than a queen answers. */
export async function probeQueen(target: Target, timeoutMs: number): Promise<Probe> {
  try {
    return { state: 'up', health: await callJson(target, queenRoutes.health, { timeoutMs }) };
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    if (error.code === 'CONNECTION_TIMEOUT') {
      return { state: error.details.cause === undefined || error.details.cause === 'ETIMEDOUT' ? 'silent' : 'absent' };
    }
    throw toStrangerError(target.transport.peer.url, error);
  }
}

function toStrangerError(url: string, cause: RbeeError): RbeeError {
  return new RbeeError('QUEEN_UNREACHABLE', `another program than queen-rbee answers at ${url}`, {
    details: { url },
    suggestion: /\/\/(localhost|127\.|\[::1)/.test(url)
      ? 'end that program, or let the queen use another port: RBEE_QUEEN_PORT=8090 rbee-keeper ...'
      : 'check --queen-url or RBEE_QUEEN_URL',
    cause,
  });
}

/** Throws VERSION_MISMATCH when this keeper and a queen may not work together. */
export function checkVersion(health: QueenHealth): void {
  if (isCompatibleVersion(VERSION, health.version)) return;
  const keeperIsOlder = VERSION.localeCompare(health.version, 'en', { numeric: true }) < 0;
  const [older, newer] = keeperIsOlder ? ['rbee-keeper', health.version] : ['queen-rbee', VERSION];
  throw new RbeeError(
    'VERSION_MISMATCH',
    `rbee-keeper ${VERSION} and queen-rbee ${health.version} do not fit together`,
    {
      details: { keeper: VERSION, queen: health.version },
      suggestion: `upgrade ${older} to ${newer}: update its checkout, run pnpm build there${
        keeperIsOlder ? '' : ', then rbee-keeper queen stop'
      }`,
    },
  );
}
