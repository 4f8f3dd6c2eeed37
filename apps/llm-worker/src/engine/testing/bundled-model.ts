import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Variant = 'q4_k_m' | 'q5_k_m' | 'q8_0';

/** Path of the model that comes with rbee. */
export function bundledModel(variant: Variant = 'q4_k_m'): string {
  return fileURLToPath(new URL(`../../../../../models/honeycomb-${variant}.gguf`, import.meta.url));
}

/** Prompts and answers of the model card: greedy, with the Q4_K_M file. */
export function readCardSamples(): { prompt: string; answer: string }[] {
  const card = readFileSync(fileURLToPath(new URL('../../../../../models/MODEL_CARD.md', import.meta.url)), 'utf8');
  const samples = card.slice(card.indexOf('## Greedy samples')).matchAll(/\*\*(.+?)\*\*\n\n((?:>.*\n?)+)/g);
  return [...samples].map(([, prompt = '', quote = '']) => ({
    prompt,
    answer: quote
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^> ?/, ''))
      .join('\n'),
  }));
}
