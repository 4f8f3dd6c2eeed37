import type { EndEvent } from '@rbee/protocol';

/**
 * The closing line of an answer: `done: 20 tokens in 1234 ms (16.2 tokens/s), prompt 9 tokens (0 cached)`. Of an answer that
 * went on at another worker, only the last part was timed: `done: 30 tokens, the last 20 in 1234 ms (16.2 tokens/s)`.
 */
export function renderSummary(end: EndEvent): string {
  const { tokens_out: count, resumed_tokens: resumed = 0, decode_time_ms: ms, stop_reason: reason } = end;
  const speed = tokensPerSecond(count - resumed, ms);
  const last = resumed > 0 ? `, the last ${count - resumed}` : '';
  const rate = speed === undefined ? '' : ` (${speed.toFixed(1)} tokens/s)`;
  const cut = reason === 'CONTEXT_FULL' ? ', the context is full' : reason === 'MAX_TOKENS' ? ', cut at the limit' : '';
  return `done: ${tokens(count)}${last} in ${Math.round(ms)} ms${rate}${renderPromptFigures(end)}${cut}`;
}

/** Speed of the generation; `undefined` where there is nothing to divide by. */
function tokensPerSecond(count: number, ms: number): number | undefined {
  return ms > 0 && count > 0 ? count / (ms / 1000) : undefined;
}

function renderPromptFigures({ prompt_tokens, cached_tokens }: EndEvent): string {
  if (prompt_tokens === undefined) return '';
  return `, prompt ${tokens(prompt_tokens)}${cached_tokens === undefined ? '' : ` (${cached_tokens} cached)`}`;
}

function tokens(count: number): string {
  return count === 1 ? '1 token' : `${count} tokens`;
}
