import {
  type Clock,
  callJson,
  httpTransport,
  isRunning,
  type Logger,
  type ProcessIdentity,
  type Secret,
} from '@rbee/daemon-kit';
import { type ReadyStatus, workerRoutes } from '@rbee/protocol';
import type { RunFiles, WorkerRecord, WorkerTakeover } from './run-files.js';

/** A worker of a hive that is gone, which goes on and can be looked after. */
export interface Orphan {
  readonly record: WorkerRecord & { readonly takeover: WorkerTakeover };
  readonly key: Secret;
  /** What it says of itself. */
  readonly ready: ReadyStatus;
}

export interface TakeOverOptions {
  files: RunFiles;
  clock: Clock;
  log: Logger;
  /** The hive that takes them over: this process. */
  hive: ProcessIdentity;
  /** How long a worker may take to answer. */
  answerMs: number;
}

/**
 * Finds the workers that a killed hive left behind and that still serve, or load: the same process, a whole record, its key file,
 * and an answer to that key. Each is entered as this hive's own before it is returned, so that no other hive takes it as well.
 * The others are left for `reapLeftovers`.
 */
export async function takeOver(options: TakeOverOptions): Promise<Orphan[]> {
  const { files, log, hive } = options;
  const orphans = files.readRecords().filter(({ hive: owner, process }) => !isRunning(owner) && isRunning(process));
  const found = await Promise.all(orphans.map((record) => ask(record, options)));
  return found.flatMap((orphan) => {
    if (orphan === undefined) return [];
    const { workerId } = orphan.record;
    const now = files.readRecord(workerId);
    // Another hive may have been quicker.
    if (now === undefined || isRunning(now.hive)) return [];
    try {
      files.writeRecord({ ...orphan.record, hive });
      return [orphan];
    } catch (error) {
      log.warn({ error, worker_id: workerId }, 'a worker of an earlier hive cannot be taken over');
      return [];
    }
  });
}

async function ask(
  record: WorkerRecord,
  { files, clock, log, answerMs }: TakeOverOptions,
): Promise<Orphan | undefined> {
  const { workerId, takeover } = record;
  if (takeover === undefined) return undefined;
  const transport = httpTransport({ name: workerId, url: takeover.url, connectTimeoutMs: answerMs });
  try {
    const key = files.readKey(workerId);
    const ready = await callJson({ transport, clock, key }, workerRoutes.ready, { timeoutMs: answerMs });
    // One that could not load its model, or ends already, is not worth it.
    if (ready.state === 'error' || ready.state === 'draining') return undefined;
    return { record: { ...record, takeover }, key, ready };
  } catch (error) {
    log.info({ error, worker_id: workerId }, 'a worker of an earlier hive does not answer and is not taken over');
    return undefined;
  } finally {
    transport.close();
  }
}
