import { callJson, orAborted } from '@rbee/daemon-kit';
import { type DownloadProgress, hiveRoutes, type PlannedWorker } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import { followDownload } from './follow-download.js';

export interface FetchContext {
  readonly correlationId: string;
  /** What the model is for. */
  readonly worker: PlannedWorker | undefined;
  readonly signal: AbortSignal;
  /** Longest time until the stream of progress begins, in milliseconds. */
  readonly timeoutMs: number;
  readonly onEvent: (event: DownloadProgress) => void;
}

/**
 * Has a node's hive download a model, and follows that to its end; resolves with false when the hive had the model
 * already. When the signal is aborted, the hive is told that the download is not needed from here any more.
 */
export async function fetchFromHub(node: LiveNode, modelRef: string, context: FetchContext): Promise<boolean> {
  const { correlationId, worker, signal, timeoutMs, onEvent } = context;
  const { hive } = node.link;
  // Not broken off: only its answer tells what there is to give back.
  const asked = callJson(hive, hiveRoutes.downloadModel, { body: { model_ref: modelRef, worker }, correlationId });
  const giveBack = async () => {
    const { download_id } = await asked;
    if (download_id !== 'cached') await cancelDownload(node, download_id, { correlationId, timeoutMs });
  };
  try {
    const { download_id } = await orAborted(asked, signal);
    if (download_id === 'cached') return false;
    await followDownload(node, download_id, { correlationId, signal, timeoutMs }, onEvent);
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
