import { callBytes, callJson, type Target } from '@rbee/daemon-kit';
import { hiveRoutes, RbeeError } from '@rbee/protocol';
import { atNode } from '../node/at-node.js';
import type { CopyJob } from './copy-job.js';
import { FIRST_PIECE_BYTES, nextPieceSize } from './piece-size.js';

/** Less than the time that a hive gives a request, so that it is this side that says so. */
const PIECE_LIMIT_MS = 55_000;

/** A hive, and the node that it is of. */
interface CopyEnd extends Target {
  readonly node: string;
}

export interface SendModelOptions extends Pick<CopyJob, 'modelId' | 'downloadId' | 'files' | 'correlationId'> {
  readonly source: CopyEnd;
  readonly target: CopyEnd;
  /** Longest time until the source begins to answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Passes what is missing of each file from one hive to another, piece by piece, without keeping any of it. */
export async function sendModel(options: SendModelOptions): Promise<void> {
  let pieceBytes = FIRST_PIECE_BYTES;
  for (const [index, { size_bytes, offset: start }] of options.files.entries()) {
    for (let offset = start; offset < size_bytes; ) {
      const end = Math.min(offset + pieceBytes, size_bytes);
      const startedAt = options.target.clock.monotonic();
      const taken = await sendPiece(options, index, offset, end);
      if (taken <= offset) throw toStandstill(options, index, offset);
      pieceBytes = nextPieceSize(taken - offset, options.target.clock.monotonic() - startedAt);
      offset = taken;
    }
  }
}

/** Resolves with where the file ends at the target now. */
async function sendPiece(options: SendModelOptions, index: number, offset: number, end: number): Promise<number> {
  const { source, target, modelId, downloadId, correlationId, timeoutMs, signal } = options;
  const atSource = atNode(source.node);
  const read = await callBytes(
    source,
    hiveRoutes.readModelFile,
    { start: offset, end },
    { params: { id: modelId, index: String(index) }, correlationId, signal, timeoutMs },
  ).catch(atSource);
  // What breaks off while it is read fails the call to the target, which is not to blame.
  const bytes = (async function* () {
    try {
      yield* read;
    } catch (error) {
      atSource(error);
    }
  })();
  const answer = await callJson(target, hiveRoutes.writeModelFile, {
    params: { download_id: downloadId, index: String(index) },
    query: { offset },
    upload: { bytes, length: end - offset },
    correlationId,
    signal,
    timeoutMs: PIECE_LIMIT_MS,
  }).catch(atNode(target.node));
  return answer.offset;
}

function toStandstill({ files }: SendModelOptions, index: number, offset: number): RbeeError {
  return new RbeeError(
    'DOWNLOAD_FAILED',
    `the receiving hive took nothing of ${files[index]?.name} at byte ${offset}`,
    {
      details: { file: files[index]?.name, offset },
    },
  );
}
