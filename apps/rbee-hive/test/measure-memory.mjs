/**
 * Loads models with the worker's own engine, as the argument says in JSON (a list of modelPath, contextSize, slots), and prints
 * what the engine reports of the memory of each. Started with a loader that reads TypeScript.
 */
import { createContext } from '../../llm-worker/src/engine/create-context.ts';
import { EngineLogTap } from '../../llm-worker/src/engine/engine-log.ts';
import { startBackend } from '../../llm-worker/src/engine/start-backend.ts';

const quiet = () => undefined;
const tap = new EngineLogTap({ debug: quiet, info: quiet, warn: quiet });
const llama = await startBackend('cpu', tap);
const figures = [];
for (const { modelPath, contextSize, slots } of JSON.parse(process.argv[2])) {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const { memory } = await createContext(model, tap, { contextSize, slots });
  figures.push(memory ?? null);
  await model.dispose();
}
process.stdout.write(JSON.stringify(figures));
await llama.dispose();
