import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { writeMadeModel } from '@rbee/fixtures';
import type { MemoryFigures, Model } from '@rbee/protocol';
import { MachineProbe } from '../probe/machine-probe.js';
import type { Worker } from './worker.js';
import { WorkerPreflight } from './worker-preflight.js';

const MIB = 2 ** 20;
const MODEL_REF = 'hf:acme/made:Q4_K_M';
const planned = { backend: 'cpu' as const };
const unheard = () => undefined;

describe('WorkerPreflight', () => {
  let folder: string;
  let probeFile: string;
  let present: Worker[];
  let model: Model;
  const onEstimate = jest.fn<(model: Model, figures: MemoryFigures) => void>();

  /** The machine has so much memory from now on. */
  const setFree = (megabytes: number) => writeFileSync(probeFile, JSON.stringify({ ram_available_mb: megabytes }));
  const createPreflight = () => {
    const probe = new MachineProbe({ platform: process.platform, modelsDir: folder, probeFile });
    return new WorkerPreflight({ present }, probe, { defaultSlots: 2, onEstimate });
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'rbee-preflight-'));
    probeFile = join(folder, 'probe.json');
    present = [];
    const local_path = join(folder, 'made.gguf');
    writeMadeModel(local_path);
    model = { id: 'made', model_ref: MODEL_REF, local_path } as Model;
    onEstimate.mockClear();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('reads what a model takes from its header, for the context and the slots that are meant', async () => {
    setFree(8000);
    const preflight = createPreflight();
    const request = await preflight.describe(MODEL_REF, model, { ...planned, slots_total: 3, context_size: 64 });
    expect(request).toMatchObject({ modelRef: MODEL_REF, slots: 3, contextSize: 64 });
    expect(onEstimate).toHaveBeenCalledWith(model, expect.objectContaining({ slots: 3, context_size: 64 }));
    expect(await preflight.describe(MODEL_REF, model, planned)).toMatchObject({ slots: 2 });
  });

  it('says that memory fell when it went away between the check and the start', async () => {
    setFree(8000);
    const preflight = createPreflight();
    const request = await preflight.describe(MODEL_REF, model, planned);
    const passed = await preflight.check(request, unheard);
    await preflight.checkAgain(request, passed);
    setFree(5);
    await expect(preflight.checkAgain(request, passed)).rejects.toMatchObject({
      code: 'INSUFFICIENT_RAM',
      message: expect.stringContaining('free memory fell during the check'),
      details: { required: passed.requiredMb, available: 5, fell: true },
    });
  });

  it('promises no memory twice while a worker starts', async () => {
    setFree(10_000);
    const preflight = createPreflight();
    const identity = { pinned: false, owned: true, modelRef: 'builtin:honeycomb' };
    const toView = () => ({ worker_id: 'worker-1' });
    const starting = { movable: true, id: 'worker-1', identity, starting: true, toView } as unknown as Worker;
    const check = () => preflight.checkBeforeItComes(MODEL_REF, 5000 * MIB, planned);
    await check();
    present.push(starting);
    preflight.reserve(starting, { backend: 'cpu', device: 0, requiredMb: 6000 });
    await expect(check()).rejects.toMatchObject({
      code: 'INSUFFICIENT_RAM',
      message: expect.stringContaining('worker-1 (builtin:honeycomb) is starting'),
      details: { required: 6000, available: 4000, workers: [{ worker_id: 'worker-1', reason: 'is starting' }] },
    });
    present.pop();
    await check();
  });
});
