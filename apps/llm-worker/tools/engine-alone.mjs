/**
 * The engine by its documented interface and without any of rbee: the yardstick of the suite and of the benchmarks.
 * Usage: node engine-alone.mjs MODEL.gguf TEXT [MAX_TOKENS [THREADS [STREAMS [REPEATS]]]]; prints one JSON object a repeat.
 */
import { getLlama } from 'node-llama-cpp';

const [modelPath, text, ...numbers] = process.argv.slice(2);
const [maxTokens = 1_000_000, threads = 0, streams = 1, repeats = 1] = numbers.map(Number);
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
if (threads > 0) llama.maxThreads = threads;
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: { max: 4096 }, sequences: streams, flashAttention: false });
const sequences = Array.from({ length: streams }, () => context.getSequence());
const tokens = model.tokenize(text, true);

async function generate(sequence) {
  await sequence.clearHistory();
  const ids = [];
  const start = performance.now();
  let firstTokenMs;
  for await (const token of sequence.evaluate(tokens, { temperature: 0 })) {
    firstTokenMs ??= performance.now() - start;
    if (ids.push(token) >= maxTokens) break;
  }
  const totalMs = performance.now() - start;
  // Where in the text each token ends.
  const ends = ids.map((_id, index) => model.detokenize(ids.slice(0, index + 1)).length);
  return { ids, ends, text: model.detokenize(ids), firstTokenMs, totalMs };
}

for (let repeat = 0; repeat < repeats; repeat++) {
  const start = performance.now();
  const [first, ...others] = await Promise.all(sequences.map(generate));
  const tokensOut = [first, ...others].reduce((sum, { ids }) => sum + ids.length, 0);
  console.log(JSON.stringify({ ...first, tokensOut, wallMs: performance.now() - start }));
}
await llama.dispose();
