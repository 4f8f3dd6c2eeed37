import { type Clock, sleep } from '@rbee/daemon-kit';
import { isRbeeError } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';

/** Memory also comes free without any event: other programs end, and workers that were just started come to rest. */
const LOOK_MS = 5_000;

/** Whether a hive refused a worker because of others that will come to rest, so that it is worth asking again. */
export function hasRoomLater(error: unknown): boolean {
  return isRbeeError(error) && error.details.room_later === true;
}

/** Resolves when a worker of a node has come to rest or has gone, at the latest after 5 s. Rejects with the signal's reason. */
export async function untilRoomMayBe(node: LiveNode, clock: Clock, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const before = describeWorkers(node);
  const changed = async () => {
    while (describeWorkers(node) === before) await node.changed(either);
  };
  try {
    await Promise.race([sleep(clock, LOOK_MS, either), changed()]);
  } finally {
    over.abort();
  }
}

/** Which workers there are, and which of them rest. */
function describeWorkers(node: LiveNode): string {
  return node
    .listWorkers()
    .map(({ worker_id, state, slots_available, slots_total }) => {
      return `${worker_id} ${state === 'idle' && slots_available === slots_total}`;
    })
    .join();
}
