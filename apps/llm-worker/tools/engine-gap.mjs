/**
 * How sure the engine is of a next token: the difference of its two largest logits after a text and some token ids.
 * Where two greedy answers part, a tiny gap says that only the order of float sums decided.
 * Usage: node engine-gap.mjs MODEL.gguf TEXT ID,ID,…; prints the gap.
 */
import { getLlama } from 'node-llama-cpp';

const [modelPath, text, ids = ''] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error' });
llama.maxThreads = 1;
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: { max: 4096 }, flashAttention: false });
const tokens = [...model.tokenize(text, true), ...ids.split(',').filter(Boolean).map(Number)];
const last = tokens.length - 1;
const top = { generateNext: { logits: { filter: { tokens: [], includeTop: 2 } } } };
const output = await context.getSequence().controlledEvaluate(tokens.map((id, at) => (at === last ? [id, top] : id)));
const [first, second] = [...output[last].next.logits.values()];
console.log(first - second);
await llama.dispose();
