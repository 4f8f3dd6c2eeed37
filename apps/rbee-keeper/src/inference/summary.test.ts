import { describe, expect, it } from '@jest/globals';
import type { EndEvent } from '@rbee/protocol';
import { renderSummary } from './summary.js';

const end: EndEvent = { type: 'end', tokens_out: 20, decode_time_ms: 1234, stop_reason: 'EOS' };

describe('renderSummary', () => {
  it.each<[Partial<EndEvent>, string]>([
    [{}, 'done: 20 tokens in 1234 ms (16.2 tokens/s)'],
    [{ prompt_tokens: 9, cached_tokens: 0 }, 'done: 20 tokens in 1234 ms (16.2 tokens/s), prompt 9 tokens (0 cached)'],
    [{ tokens_out: 1, decode_time_ms: 0, prompt_tokens: 1 }, 'done: 1 token in 0 ms, prompt 1 token'],
    [{ tokens_out: 0 }, 'done: 0 tokens in 1234 ms'],
    [{ tokens_out: 30, resumed_tokens: 10 }, 'done: 30 tokens, the last 20 in 1234 ms (16.2 tokens/s)'],
    [{ stop_reason: 'MAX_TOKENS' }, 'done: 20 tokens in 1234 ms (16.2 tokens/s), cut at the limit'],
    [{ stop_reason: 'CONTEXT_FULL' }, 'done: 20 tokens in 1234 ms (16.2 tokens/s), the context is full'],
  ])('%j', (figures, text) => {
    expect(renderSummary({ ...end, ...figures })).toBe(text);
  });
});
