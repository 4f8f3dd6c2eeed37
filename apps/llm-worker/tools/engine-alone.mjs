/**
 * The engine by its documented interface and without any of rbee: the yardstick of the suite and of the benchmarks.
 * Usage: node engine-alone.mjs MODEL.gguf TEXT [MAX_TOKENS [THREADS]]; prints one JSON object.
 */
import { getLlama } from 'node-llama-cpp';

const [modelPath, text, maxTokens = '1000000', threads = '0'] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
if (Number(threads) > 0) llama.maxThreads = Number(threads);
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: { max: 4096 }, flashAttention: false });
const tokens = model.tokenize(text, true);
const ids = [];
const start = performance.now();
let firstTokenMs;
for await (const token of context.getSequence().evaluate(tokens, { temperature: 0 })) {
  firstTokenMs ??= performance.now() - start;
  if (ids.push(token) >= Number(maxTokens)) break;
}
const totalMs = performance.now() - start;
console.log(
  JSON.stringify({ ids, text: model.detokenize(ids), firstTokenMs, decodeMs: totalMs - (firstTokenMs ?? 0) }),
);
await llama.dispose();
