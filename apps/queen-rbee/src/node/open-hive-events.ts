import { callStream, type IncomingStream, readEvent, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import { type HiveEvent, hiveEventSchema, hiveRoutes, RbeeError } from '@rbee/protocol';
import { askHealth } from '../link/ask-health.js';
import type { Link } from '../link/link.js';
import { checkHiveVersion } from './check-version.js';

type Snapshot = Extract<HiveEvent, { type: 'snapshot' }>;

/** A hive's events, and the snapshot with which they began. */
export interface HiveEvents {
  readonly stream: IncomingStream;
  readonly snapshot: Snapshot;
}

/**
 * Reaches a node, opens the event stream of its hive and waits for the snapshot. Throws what the link throws, VERSION_MISMATCH,
 * and INVALID_RESPONSE for a stream that does not begin as it should; it is closed then.
 */
export async function openHiveEvents(
  link: Link,
  { call: timeoutMs, hive_silence: silenceMs }: Pick<Timeouts, 'call' | 'hive_silence'>,
  signal: AbortSignal,
): Promise<HiveEvents> {
  await link.reach(() => undefined, signal);
  // The first request to whoever listens there shows no key: what is no hive must not learn it.
  await askHealth(link.hive, { timeoutMs, signal });
  const stream = await callStream(link.hive, hiveRoutes.events, { signal, timeoutMs, silenceMs });
  try {
    const first = await withTimeout(link.hive.clock, timeoutMs, stream.messages.next(), () =>
      toSnapshotError(link, `sent nothing within ${timeoutMs} ms`),
    );
    const snapshot = first.done ? undefined : readEvent(hiveEventSchema, first.value);
    if (snapshot?.type !== 'snapshot') throw toSnapshotError(link, 'did not start with a snapshot');
    checkHiveVersion(link.node, snapshot.version);
    return { stream, snapshot };
  } catch (error) {
    stream.close();
    throw error;
  }
}

function toSnapshotError({ node }: Link, what: string): RbeeError {
  return new RbeeError('INVALID_RESPONSE', `the event stream of the hive of ${node} ${what}`, {
    details: { service: 'rbee-hive', node },
    suggestion: 'check that the program behind this address is rbee-hive, and restart it',
  });
}
