import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ModelShape, startTestHub, type TestHub, writeTellingModel } from '@rbee/fixtures';

export const MODEL = 'hf:acme/tell:Q4_0';
export const MODEL_FILE = 'tell.Q4_0.gguf';
/** The same with hardly any work in it. */
export const QUICK_MODEL = 'hf:acme/quick:Q4_0';

/** About 90 million weights: some 150 tokens a second on one core, so that every phase lasts long enough to be met. */
const SHAPE: ModelShape = {
  layers: 24,
  embedding: 512,
  heads: 8,
  kvHeads: 2,
  feedForward: 1536,
  vocabulary: 4000,
  contextLength: 2048,
  type: 'Q4_0',
};

const QUICK_SHAPE: ModelShape = { ...SHAPE, layers: 4, embedding: 256, feedForward: 512, contextLength: 512 };

/** A hub with the models of the suite, and the folder that they lie in. */
export async function startHub(): Promise<{ hub: TestHub; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'rbee-faults-hub-'));
  const hub = await startTestHub();
  for (const [name, shape] of [['tell', SHAPE] as const, ['quick', QUICK_SHAPE] as const]) {
    const file = `${name}.Q4_0.gguf`;
    writeTellingModel(join(folder, file), shape);
    await hub.addRepo(`acme/${name}`, { [file]: { path: join(folder, file) } });
  }
  return { hub, folder };
}
