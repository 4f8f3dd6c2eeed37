import { type Clock, callJson, retry } from '@rbee/daemon-kit';
import {
  type DownloadProgress,
  formatModelRef,
  hiveRoutes,
  isRbeeError,
  type Model,
  type PlannedWorker,
  RbeeError,
} from '@rbee/protocol';
import type { CopyJob } from '../copy/copy-job.js';
import type { LiveNode } from '../node/live-node.js';
import { copyableFiles } from './choose-giver.js';
import { cancelDownload } from './fetch-from-hub.js';
import { followDownload } from './follow-download.js';

/** What is sent is told by the target: which import it belongs to, and what is there already. */
export type SendFiles = (
  work: { readonly source: LiveNode; readonly target: LiveNode } & Pick<
    CopyJob,
    'modelId' | 'downloadId' | 'files' | 'correlationId'
  >,
  signal: AbortSignal,
) => Promise<void>;

export interface CopyContext {
  readonly clock: Clock;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Waits before the attempts, in milliseconds. */
  readonly waits: readonly number[];
  readonly timeoutMs: number;
  readonly correlationId: string;
  /** What the model is for. */
  readonly worker: PlannedWorker | undefined;
  readonly signal: AbortSignal;
  readonly send: SendFiles;
  readonly onEvent: (event: DownloadProgress) => void;
}

/**
 * Copies a model from one node's hive to another's, which checks every file. A copy that breaks goes on where the target
 * has got to. Resolves with `catalog` when the target had the model already, and with `hub` when it was downloading it. Throws the coded error of whichever side failed;
 * then, and when the signal is aborted, the target keeps what it has got and waits for no more.
 */
export async function copyFromNode(
  source: LiveNode,
  target: LiveNode,
  model: Model,
  context: CopyContext,
): Promise<'copied' | 'catalog' | 'hub'> {
  const { correlationId, worker, timeoutMs } = context;
  const abort = new AbortController();
  const signal = AbortSignal.any([context.signal, abort.signal]);
  const begun: string[] = [];
  const begin = async () => {
    const state = await beginImport(target, model, worker, { correlationId, signal });
    if (state.download_id !== 'cached') begun.push(state.download_id);
    return state;
  };
  let works: Promise<void>[] = [];
  try {
    const state = await begin();
    if (state.download_id === 'cached') return 'catalog';
    const call = { correlationId, signal, timeoutMs };
    const followed = followDownload(target, state.download_id, call, context.onEvent);
    const atHub = state.files.length === 0;
    const sent = atHub ? followed : sendInAttempts(source, target, model, { ...context, signal }, state, begin);
    works = [followed, sent];
    // The target has the last word: it says whether what came is what was announced.
    await Promise.race([followed, sent.then(() => followed)]);
    return atHub ? 'hub' : 'copied';
  } catch (error) {
    abort.abort(error);
    await giveBack(target, begun, { correlationId, timeoutMs });
    throw error;
  } finally {
    abort.abort(new RbeeError('CANCELLED', 'the copy is over'));
    await Promise.allSettled(works);
  }
}

type ImportState = Awaited<ReturnType<typeof beginImport>>;

function beginImport(
  target: LiveNode,
  model: Model,
  worker: PlannedWorker | undefined,
  call: { correlationId: string; signal: AbortSignal },
) {
  const files = (copyableFiles(model) ?? []).map(({ name, size_bytes, digest }) => ({ name, size_bytes, digest }));
  const { reference, variant, model_ref } = model;
  const named = variant == null ? model_ref : formatModelRef({ provider: 'hf', reference, variant });
  return callJson(target.link.hive, hiveRoutes.importModel, { ...call, body: { model_ref: named, files, worker } });
}

/** A broken connection is made anew; where to go on from is asked each time. */
function sendInAttempts(
  source: LiveNode,
  target: LiveNode,
  model: Model,
  { clock, variables, waits, correlationId, signal, send, onEvent }: CopyContext,
  first: ImportState,
  begin: () => Promise<ImportState>,
): Promise<void> {
  let state: ImportState | undefined = first;
  const onRetry = (attempt: number, delay_ms: number, error: unknown) => {
    state = undefined;
    onEvent({ stage: 'retrying', attempt, max_attempts: waits.length, delay_ms, reason: (error as Error).message });
  };
  return retry({ waits, isRetryable: mayGoOn, onRetry }, { clock, variables, signal }, async () => {
    state ??= await begin();
    // It came to its end in the meantime.
    if (state.files.length === 0) return;
    const offsets = new Map(state.files.map(({ name, offset }) => [name, offset]));
    const files = (copyableFiles(model) ?? []).map((file) => ({ ...file, offset: offsets.get(file.name) ?? 0 }));
    const { download_id: downloadId } = state;
    await send({ source, target, modelId: model.id, downloadId, files, correlationId }, signal);
  });
}

/** Whether it was the way that failed, rather than one of the hives. */
function mayGoOn(error: unknown): boolean {
  return (
    isRbeeError(error) &&
    /^(WORKER_CONNECTION_LOST|CONNECTION_TIMEOUT|SSH_CONNECTION_TIMEOUT|DOWNLOAD_FAILED)$/.test(error.code)
  );
}

/** As often as it was asked for; the hive may have gone. */
async function giveBack(
  target: LiveNode,
  begun: readonly string[],
  call: { correlationId: string; timeoutMs: number },
): Promise<void> {
  for (const id of begun) {
    const ended = await cancelDownload(target, id, call).catch(() => true);
    if (ended) return;
  }
}
