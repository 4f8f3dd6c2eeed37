import { callJson, orAborted, retry } from '@rbee/daemon-kit';
import { hiveRoutes } from '@rbee/protocol';
import { atNode, isLoss } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';
import { underDeadline } from '../worker/under-deadline.js';
import { followDownload, isForgotten } from './follow-download.js';
import { retryTeller, type SupplyContext } from './supply-context.js';

/** How often a hive asks a hub for the files of a model; each time it gives up after `download_stall` of silence. */
const HUB_ATTEMPTS = 6;

/**
 * Has a node's hive download a model, and follows that to its end; resolves with false when the hive had the model
 * already. A connection that is lost for a moment does not matter to the download. When the signal is aborted, the hive is
 * told that the download is not needed from here any more.
 */
export async function fetchFromHub(node: LiveNode, modelRef: string, context: SupplyContext): Promise<boolean> {
  const { waits, correlationId, worker, signal, listener, timeouts, onEvent } = context;
  const { hive } = node.link;
  // Not broken off: only its answer tells what there is to give back.
  const body = { model_ref: modelRef, worker };
  const { deadline } = listener;
  // A hive that lives and never answers must not hold the task, or the queen's end, for ever.
  const timeoutMs = HUB_ATTEMPTS * timeouts.download_stall;
  const call = { body, correlationId, deadline, timeoutMs };
  const asked = callJson(hive, hiveRoutes.downloadModel, call).catch(atNode(node.name));
  const giveBack = async () => {
    const { download_id } = await asked;
    if (download_id !== 'cached') await cancelDownload(node, download_id, { correlationId, timeoutMs: timeouts.call });
  };
  try {
    const { download_id } = await orAborted(asked, signal);
    if (download_id === 'cached') return false;
    const isRetryable = (error: unknown) => isLoss(error) && !isForgotten(error) && node.standing.hive !== 'stopped';
    await retry({ waits, isRetryable, onRetry: retryTeller(context) }, context, () =>
      underDeadline(listener, (deadline) =>
        followDownload(node, download_id, { correlationId, deadline, signal, timeouts }, onEvent),
      ),
    );
    return true;
  } catch (error) {
    // The hive may have gone: then there is nothing to give back either.
    if (signal.aborted) await giveBack().catch(() => undefined);
    throw error;
  }
}

/** Takes back one request for a download; resolves with whether it has ended now. */
export async function cancelDownload(
  node: LiveNode,
  downloadId: string,
  call: { readonly correlationId: string; readonly timeoutMs: number },
): Promise<boolean> {
  const params = { download_id: downloadId };
  return (await callJson(node.link.hive, hiveRoutes.cancelDownload, { ...call, params })).ended;
}
