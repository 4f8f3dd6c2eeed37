import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const PROJECT = resolve(import.meta.dirname, '../..');

export interface EngineAnswer {
  readonly ids: number[];
  /** Where in the text each token ends. */
  readonly ends: number[];
  readonly text: string;
}

/**
 * Two greedy answers may part where the two largest logits are closer than this: batches of another shape sum floats in
 * another order. Logits of this model differ by up to a few hundredths between shapes.
 */
export const FLOAT_NOISE = 0.1;

const MODEL = join(PROJECT, 'models/honeycomb-q4_k_m.gguf');
const ENVIRONMENT = { ...process.env, UV_THREADPOOL_SIZE: '1' };

/** The difference of the engine's two largest logits after a message and the first tokens of an answer to it. */
export function measureGap(message: string, ids: readonly number[]): number {
  const script = join(PROJECT, 'apps/llm-worker/tools/engine-gap.mjs');
  return Number(execFileSync(process.execPath, [script, MODEL, render(message), ids.join()], { env: ENVIRONMENT }));
}

function render(message: string): string {
  return `<|im_start|>user\n${message}<|im_end|>\n<|im_start|>assistant\n`;
}

const answers = new Map<string, EngineAnswer>();

/**
 * What the engine alone says greedily to one user message. Compared with on this machine only: another processor sums
 * floats in another order, and a sentence of so small a model may then take another turn.
 */
export function generateWithEngineAlone(message: string): EngineAnswer {
  const known = answers.get(message);
  if (known) return known;
  const script = join(PROJECT, 'apps/llm-worker/tools/engine-alone.mjs');
  const output = execFileSync(process.execPath, [script, MODEL, render(message), '1000', '1'], { env: ENVIRONMENT });
  const answer = JSON.parse(output.toString()) as EngineAnswer;
  answers.set(message, answer);
  return answer;
}

/** Fails unless a text is the engine's own greedy answer, or parts from it first where only the order of float sums decides. */
export function assertGreedyAnswer(message: string, text: string): void {
  const alone = generateWithEngineAlone(message);
  if (text === alone.text) return;
  let common = 0;
  while (common < text.length && text[common] === alone.text[common]) common++;
  const before = alone.ids.slice(0, alone.ends.filter((end) => end <= common).length);
  const gap = measureGap(message, before);
  assert(gap < FLOAT_NOISE, `parts after ${before.length} tokens, where the gap is ${gap}:\n${text}\n${alone.text}`);
}
