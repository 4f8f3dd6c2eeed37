import { callStream, readEvent, type Timeouts } from '@rbee/daemon-kit';
import { type DownloadProgress, downloadProgressSchema, fromErrorBody, hiveRoutes, RbeeError } from '@rbee/protocol';
import { atNode } from '../node/at-node.js';
import type { HiveCall, LiveNode } from '../node/live-node.js';

/**
 * Follows a download of a node's hive to its end and hands on each of its events. Throws the coded error that it ended
 * with, WORKER_CONNECTION_LOST when the connection to the hive broke, or the signal's reason.
 */
export async function followDownload(
  node: LiveNode,
  downloadId: string,
  {
    timeouts,
    ...call
  }: HiveCall & {
    readonly timeouts: Pick<Timeouts, 'call' | 'keep_alive'>;
    /** When those who need it have had enough, milliseconds since the epoch. */
    readonly deadline: number | undefined;
  },
  onEvent: (event: DownloadProgress) => void,
): Promise<void> {
  // A hive that lives shows it at each `keep_alive`, whatever becomes of the download.
  const limits = { timeoutMs: timeouts.call, silenceMs: 3 * timeouts.keep_alive };
  const options = { ...call, ...limits, query: { id: downloadId } };
  const follow = async () => {
    const { messages } = await callStream(node.link.hive, hiveRoutes.downloadProgress, options);
    for await (const message of messages) {
      const event = readEvent(downloadProgressSchema, message);
      // Of a later version.
      if (!event) continue;
      if (event.stage === 'error') throw toDownloadError(event, node);
      onEvent(event);
      if (event.stage === 'complete') return;
    }
    throw new RbeeError('INVALID_RESPONSE', `the hive of ${node.name} did not say how the download ended`, {
      details: { node: node.name, download_id: downloadId },
      suggestion: `look at the hive's log: rbee-keeper logs --node ${node.name}`,
    });
  };
  return follow().catch(atNode(node.name));
}

function toDownloadError(event: Extract<DownloadProgress, { stage: 'error' }>, node: LiveNode): RbeeError {
  const details = { ...event.details, node: node.name };
  // It was not cancelled from here.
  const isForeign = event.code === 'CANCELLED';
  return (
    (isForeign ? undefined : fromErrorBody({ ...event, details })) ??
    new RbeeError('DOWNLOAD_FAILED', event.message, { details: { ...details, cause: event.code } })
  );
}
