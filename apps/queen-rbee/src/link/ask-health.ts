import { callJson, type Target } from '@rbee/daemon-kit';
import { hiveRoutes, isRbeeError } from '@rbee/protocol';
import type { HiveHealth } from './link.js';

/**
 * The health of the hive behind a target; `undefined` when nothing listens there. Throws when something else answers, or
 * nothing within the limit.
 */
export async function askHealth(
  hive: Target,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<HiveHealth | undefined> {
  try {
    return await callJson(hive, hiveRoutes.health, options);
  } catch (error) {
    // Refused or reset: nothing listens there, or it is just ending.
    if (isRbeeError(error) && /^ECONN(REFUSED|RESET)$/.test(String(error.details.cause))) return undefined;
    throw error;
  }
}
