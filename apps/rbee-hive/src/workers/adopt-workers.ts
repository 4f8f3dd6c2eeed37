import type { Model } from '@rbee/protocol';
import { requiredMemory } from '../preflight/required-memory.js';
import { type TakeOverOptions, takeOver } from './take-over.js';
import { Worker } from './worker.js';
import type { WorkerPool } from './worker-pool.js';
import type { WorkerPreflight } from './worker-preflight.js';
import { WorkerProcess, workerLogFile } from './worker-process.js';

export interface AdoptionOptions extends TakeOverOptions {
  pool: WorkerPool;
  preflight: WorkerPreflight;
  logDir: string;
  /** The row of the catalog with this id. */
  findModel: (id: string) => Promise<Model>;
}

/** Takes over the workers of a killed hive that still work: same ids, jobs and streams undisturbed. Returns how many. */
export async function adoptWorkers(options: AdoptionOptions): Promise<number> {
  const { pool, clock, logDir } = options;
  const orphans = await takeOver(options);
  for (const { record, key, ready } of orphans) {
    const { workerId, modelRef, port, process, takeover } = record;
    const { url, backend, device, pinned, modelPath, slots, contextSize } = takeover;
    const worker = new Worker({ workerId, url, modelRef, backend, device, owned: true, pinned }, key, pool.context);
    worker.spec = { workerId, modelRef, modelPath, backend, device, slots, contextSize };
    worker.installation = takeover.installation;
    await equip(worker, takeover.modelId, options);
    pool.add(worker, port);
    worker.adopt(await WorkerProcess.adopt(process, workerLogFile(logDir, workerId), clock), ready);
    pool.noteProcess(worker);
  }
  return orphans.length;
}

/** A worker whose model is not in the catalog works all the same; only nobody knows what it holds. */
async function equip(worker: Worker, modelId: string, options: AdoptionOptions) {
  const { findModel, preflight, log } = options;
  const { modelRef, backend, device } = worker.identity;
  try {
    const model = await findModel(modelId);
    const planned = { backend, device, slots_total: worker.spec?.slots, context_size: worker.spec?.contextSize };
    const { footprint } = requiredMemory(await preflight.describe(modelRef, model, planned));
    const modelBytes = model.memory?.used?.total_bytes ?? footprint.modelBytes;
    worker.equip(model, { ...footprint, modelBytes });
  } catch (error) {
    log.warn(
      { error, worker_id: worker.id, model_id: modelId },
      'the model of a worker that was taken over is not known',
    );
  }
}
