import { RbeeError } from '@rbee/protocol';

/**
 * Checks that a prompt, and the answer it may get, fit into one slot. Throws CONTEXT_LENGTH_EXCEEDED with both numbers. Without
 * `maxTokens` there must be room for one token; with 0 the tokens must fit by themselves.
 */
export function checkContextFit(promptTokens: number, maxTokens: number | undefined, contextSize: number): void {
  const required = promptTokens + (maxTokens ?? 1);
  if (required <= contextSize) return;
  const asked = !maxTokens ? '' : ` plus ${maxTokens} tokens to generate`;
  const room = contextSize - promptTokens;
  throw new RbeeError(
    'CONTEXT_LENGTH_EXCEEDED',
    `the prompt has ${promptTokens} tokens${asked}: ${required} in all, the context holds ${contextSize}`,
    {
      details: { prompt_tokens: promptTokens, max_tokens: maxTokens ?? null, required, context_size: contextSize },
      suggestion:
        maxTokens !== undefined && room > 0
          ? `ask for at most ${room} tokens (--max-tokens ${room}), or shorten the prompt`
          : 'shorten the prompt, or use a model with a longer context',
    },
  );
}

/** The error for a prompt that is known to be too long before all of it was tokenized. */
export function refuseLongPrompt(atLeast: number, contextSize: number): RbeeError {
  return new RbeeError(
    'CONTEXT_LENGTH_EXCEEDED',
    `the prompt has at least ${atLeast} tokens, the context holds ${contextSize}`,
    {
      details: { prompt_tokens: atLeast, required: atLeast, context_size: contextSize },
      suggestion: 'shorten the prompt, or use a model with a longer context',
    },
  );
}
