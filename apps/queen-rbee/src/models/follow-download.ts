import { callStream, type IncomingStream, readEvent, type Timeouts, withTimeout } from '@rbee/daemon-kit';
import {
  type DownloadProgress,
  downloadProgressSchema,
  fromErrorBody,
  hiveRoutes,
  isRbeeError,
  RbeeError,
} from '@rbee/protocol';
import { atNode } from '../node/at-node.js';
import type { HiveCall, LiveNode } from '../node/live-node.js';

/** How often a hive tries to go on with a download; each time it gives up after `download_stall` without a byte. */
const HIVE_ATTEMPTS = 6;

/**
 * Follows a download of a node's hive to its end and hands on each of its events. Throws the coded error that it ended
 * with, WORKER_CONNECTION_LOST when the connection to the hive broke or another hive answers by now
 * (`isForgotten`), DOWNLOAD_TIMEOUT when the hive lives and tells nothing of
 * the download for longer than its own attempts may take, or the signal's reason.
 */
export async function followDownload(
  node: LiveNode,
  downloadId: string,
  {
    timeouts,
    ...call
  }: HiveCall & {
    readonly timeouts: Pick<Timeouts, 'call' | 'keep_alive' | 'download_stall'>;
    /** When those who need it have had enough, milliseconds since the epoch. */
    readonly deadline: number | undefined;
  },
  onEvent: (event: DownloadProgress) => void,
): Promise<void> {
  // A hive that lives shows it at each `keep_alive`, whatever becomes of the download.
  const limits = { timeoutMs: timeouts.call, silenceMs: 3 * timeouts.keep_alive };
  const options = { ...call, ...limits, query: { id: downloadId } };
  const follow = async () => {
    const stream = await callStream(node.link.hive, hiveRoutes.downloadProgress, options).catch((error: unknown) => {
      throw isRbeeError(error) && error.code === 'NOT_FOUND' ? toForgottenError(node, downloadId, error) : error;
    });
    try {
      let stage: DownloadProgress['stage'] | undefined;
      for (;;) {
        const { value: message } = await nextMessage(stream, stage);
        if (!message) break;
        const event = readEvent(downloadProgressSchema, message);
        // Of a later version.
        if (!event) continue;
        if (event.stage === 'error') throw toDownloadError(event, node);
        onEvent(event);
        stage = event.stage;
        if (stage === 'complete') return;
      }
    } finally {
      stream.close();
    }
    throw new RbeeError('INVALID_RESPONSE', `the hive of ${node.name} did not say how the download ended`, {
      details: { node: node.name, download_id: downloadId },
      suggestion: `look at the hive's log: rbee-keeper logs --node ${node.name}`,
    });
  };
  /** Its turn, and the disk, may take any time; everything else is told of again and again. */
  const nextMessage = async ({ messages }: IncomingStream, stage: DownloadProgress['stage'] | undefined) => {
    if (stage === 'waiting' || stage === 'verifying') return messages.next();
    const limitMs = HIVE_ATTEMPTS * timeouts.download_stall;
    return withTimeout(node.link.hive.clock, limitMs, messages.next(), () => toSilenceError(node, downloadId, limitMs));
  };
  return follow().catch(atNode(node.name));
}

/** Whether the hive that had begun the download is gone, and with it the download; what has come of it is still there. */
export function isForgotten(error: RbeeError): boolean {
  return error.details.forgotten === true;
}

function toForgottenError({ name }: LiveNode, downloadId: string, cause: RbeeError): RbeeError {
  return new RbeeError('WORKER_CONNECTION_LOST', `the hive of ${name} was started again and has forgotten a download`, {
    details: { node: name, service: 'rbee-hive', download_id: downloadId, forgotten: true },
    suggestion: 'repeat the request: the download goes on where it was',
    cause,
  });
}

function toSilenceError({ name }: LiveNode, downloadId: string, limitMs: number): RbeeError {
  return new RbeeError('DOWNLOAD_TIMEOUT', `the hive of ${name} told nothing of the download for ${limitMs} ms`, {
    details: { node: name, download_id: downloadId, limit_ms: limitMs },
    suggestion: `look at the hive's log: rbee-keeper logs --node ${name}; then restart it: rbee-keeper hive restart --node ${name}`,
  });
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
