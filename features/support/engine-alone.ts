import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const PROJECT = resolve(import.meta.dirname, '../..');

export interface EngineAnswer {
  readonly ids: number[];
  readonly text: string;
}

const answers = new Map<string, EngineAnswer>();

/**
 * What the engine alone says greedily to one user message. Compared with on this machine only: another processor sums
 * floats in another order, and a sentence of so small a model may then take another turn.
 */
export function generateWithEngineAlone(message: string): EngineAnswer {
  const known = answers.get(message);
  if (known) return known;
  const text = `<|im_start|>user\n${message}<|im_end|>\n<|im_start|>assistant\n`;
  const script = join(PROJECT, 'apps/llm-worker/tools/engine-alone.mjs');
  const args = [script, join(PROJECT, 'models/honeycomb-q4_k_m.gguf'), text, '1000', '1'];
  const output = execFileSync(process.execPath, args, { env: { ...process.env, UV_THREADPOOL_SIZE: '1' } });
  const answer = JSON.parse(output.toString()) as EngineAnswer;
  answers.set(message, answer);
  return answer;
}
