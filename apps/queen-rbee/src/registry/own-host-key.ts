import type { HostKeys } from '../ssh/host-key.js';
import { fingerprintOf } from '../ssh/host-key.js';
import type { NodeRecord } from './node-record.js';

/** Name in `HostKeys` of the node's own key: the last one, because the hosts on the way to it were met before. */
function ownHostKeyName(hostKeys: HostKeys): string | undefined {
  return Object.keys(hostKeys).at(-1);
}

/** Port on which the node showed its own key; `undefined` where none is pinned. */
export function ownPort(hostKeys: HostKeys): number | undefined {
  const port = /\]:(\d+)$/.exec(ownHostKeyName(hostKeys) ?? '')?.[1];
  return port === undefined ? undefined : Number(port);
}

/** The pinned keys without the node's own, so that a new one can take its place. */
export function withoutOwnHostKey(hostKeys: HostKeys): HostKeys {
  const own = ownHostKeyName(hostKeys);
  return Object.fromEntries(Object.entries(hostKeys).filter(([name]) => name !== own));
}

/** Fingerprint of the node's own pinned key; `undefined` where none is pinned. */
export function ownFingerprint({ hostKeys }: Pick<NodeRecord, 'hostKeys'>): string | undefined {
  const own = ownHostKeyName(hostKeys);
  const key = own === undefined ? undefined : hostKeys[own];
  return key === undefined ? undefined : fingerprintOf(key);
}
