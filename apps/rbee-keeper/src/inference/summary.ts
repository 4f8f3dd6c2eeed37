import type { EndEvent } from '@rbee/protocol';

/** The closing line of an answer: `done: 20 tokens in 1234 ms (16.2 tokens/s), prompt 9 tokens (0 cached)`. */
export function renderSummary(end: EndEvent): string {
  const { tokens_out: count, decode_time_ms: ms, stop_reason: reason } = end;
  const speed = tokensPerSecond(end);
  const rate = speed === undefined ? '' : ` (${speed.toFixed(1)} tokens/s)`;
  const cut = reason === 'CONTEXT_FULL' ? ', the context is full' : reason === 'MAX_TOKENS' ? ', cut at the limit' : '';
  return `done: ${tokens(count)} in ${Math.round(ms)} ms${rate}${renderPromptFigures(end)}${cut}`;
}

/** Speed of the generation; `undefined` where there is nothing to divide by. */
function tokensPerSecond({ tokens_out, decode_time_ms }: EndEvent): number | undefined {
  return decode_time_ms > 0 && tokens_out > 0 ? tokens_out / (decode_time_ms / 1000) : undefined;
}

function renderPromptFigures({ prompt_tokens, cached_tokens }: EndEvent): string {
  if (prompt_tokens === undefined) return '';
  return `, prompt ${tokens(prompt_tokens)}${cached_tokens === undefined ? '' : ` (${cached_tokens} cached)`}`;
}

function tokens(count: number): string {
  return count === 1 ? '1 token' : `${count} tokens`;
}
