import { callJson, retry } from '@rbee/daemon-kit';
import { formatModelRef, hiveRoutes, type ImportState, isRbeeError, type Model, RbeeError } from '@rbee/protocol';
import type { CopyJob } from '../copy/copy-job.js';
import { atNode, isLoss } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';
import { underDeadline } from '../worker/under-deadline.js';
import { copyableFiles } from './choose-giver.js';
import { cancelDownload } from './fetch-from-hub.js';
import { followDownload } from './follow-download.js';
import { retryTeller, type SupplyContext } from './supply-context.js';

/** What is sent is told by the target: which import it belongs to, and what is there already. */
export type SendFiles = (
  work: { readonly source: LiveNode; readonly target: LiveNode } & Pick<
    CopyJob,
    'modelId' | 'downloadId' | 'files' | 'correlationId'
  >,
  signal: AbortSignal,
) => Promise<void>;

export interface CopyContext extends SupplyContext {
  readonly send: SendFiles;
}

/**
 * Copies a model from one node's hive to another's, which checks every file. A copy that breaks goes on where the target
 * has got to. Resolves with `catalog` when the target had the model already, and with `hub` when it was downloading it.
 * Throws the coded error of whichever side failed; then, and when the signal is aborted, the target keeps what it has got
 * and waits for no more.
 */
export async function copyFromNode(
  source: LiveNode,
  target: LiveNode,
  model: Model,
  context: CopyContext,
): Promise<'copied' | 'catalog' | 'hub'> {
  const { waits, correlationId, timeouts } = context;
  const begun: string[] = [];
  /** What the target said of the end of its import: no attempt changes that. */
  const verdicts = new Set<unknown>();
  const isRetryable = (error: unknown) => !verdicts.has(error) && mayGoOn(error) && target.standing.hive !== 'stopped';
  try {
    return await retry({ waits, isRetryable, onRetry: retryTeller(context) }, context, async () => {
      const state = await beginImport(target, model, context);
      // After a broken attempt it may have come to its end unseen.
      if (state.download_id === 'cached') return begun.length > 0 ? 'copied' : 'catalog';
      begun.push(state.download_id);
      return await sendOnce(source, target, model, state, context, (error) => verdicts.add(error));
    });
  } catch (error) {
    await giveBack(target, begun, { correlationId, timeoutMs: timeouts.call });
    throw error;
  }
}

function beginImport(target: LiveNode, model: Model, context: CopyContext) {
  const { worker, correlationId, signal, timeouts } = context;
  const files = (copyableFiles(model) ?? []).map(({ name, size_bytes, digest }) => ({ name, size_bytes, digest }));
  const { reference, variant, model_ref } = model;
  const named = variant == null ? model_ref : formatModelRef({ provider: 'hf', reference, variant });
  const body = { model_ref: named, files, worker };
  // Long enough to read what is there already; whoever asks again waits for the same reading.
  const call = { correlationId, signal, timeoutMs: timeouts.download_stall };
  return callJson(target.link.hive, hiveRoutes.importModel, { ...call, body }).catch(atNode(target.name));
}

/** Sends what is missing, in one attempt. The target has the last word: it says whether what came is what was announced. */
async function sendOnce(
  source: LiveNode,
  target: LiveNode,
  model: Model,
  { download_id: downloadId, files: there }: ImportState,
  { correlationId, timeouts, send, listener, onEvent, ...context }: CopyContext,
  onVerdict: (error: unknown) => void,
): Promise<'copied' | 'hub'> {
  const over = new AbortController();
  const signal = AbortSignal.any([context.signal, over.signal]);
  const followed = underDeadline(listener, (deadline) =>
    followDownload(target, downloadId, { correlationId, deadline, signal, timeouts }, onEvent),
  );
  followed.catch((error: unknown) => isLoss(error) || onVerdict(error));
  const atHub = there.length === 0;
  const offsets = new Map(there.map(({ name, offset }) => [name, offset]));
  const files = (copyableFiles(model) ?? []).map((file) => ({ ...file, offset: offsets.get(file.name) ?? 0 }));
  const work = { source, target, modelId: model.id, downloadId, files, correlationId };
  const sent = atHub ? followed : send(work, signal);
  try {
    await Promise.race([followed, sent.then(() => followed)]);
    return atHub ? 'hub' : 'copied';
  } finally {
    over.abort(new RbeeError('CANCELLED', 'the attempt is over'));
    await Promise.allSettled([followed, sent]);
  }
}

/** Whether it was the way that failed, rather than one of the hives. */
function mayGoOn(error: unknown): boolean {
  return isLoss(error) || (isRbeeError(error) && error.code === 'DOWNLOAD_FAILED' && error.retryable);
}

/** As often as it was asked for; the hive may have gone, or forgotten what was begun before it was started again. */
async function giveBack(
  target: LiveNode,
  begun: readonly string[],
  call: { correlationId: string; timeoutMs: number },
): Promise<void> {
  for (const id of begun) {
    const ended = await cancelDownload(target, id, call).catch(
      (error: unknown) => !isRbeeError(error) || error.code !== 'NOT_FOUND',
    );
    if (ended) return;
  }
}
