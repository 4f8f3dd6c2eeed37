import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { checkContextFit } from './context-fit.js';
import { explainLoadFailure } from './load-error.js';

const PATH = '/models/tiny.gguf';
const failed = new Error('Failed to load model');

describe('explainLoadFailure', () => {
  it.each<[string, Error, string[], string, RegExp]>([
    [
      'the telling line of the engine',
      failed,
      [
        "llama_model_load: error loading model: tensor 'x' data is not within the file bounds",
        'llama_model_load_from_file_impl: failed to load model',
      ],
      'MODEL_LOAD_FAILED',
      /tiny\.gguf could not be loaded: tensor 'x' data is not within the file bounds/,
    ],
    ['the exception where nothing was logged', new Error('strange'), [], 'MODEL_LOAD_FAILED', /strange/],
    [
      'too little memory in the log',
      failed,
      ['ggml_backend_cpu_buffer: failed to allocate buffer of size 9'],
      'OUT_OF_MEMORY',
      /failed to allocate/,
    ],
    [
      'too little memory in the exception',
      new Error('A context size of 9 is too large for the available RAM'),
      [],
      'OUT_OF_MEMORY',
      /RAM/,
    ],
  ])('reports %s', (_what, failure, logged, code, message) => {
    const error = explainLoadFailure(PATH, failure, logged);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('/models/');
  });

  it('leaves a coded error as it is', () => {
    const coded = new RbeeError('BACKEND_UNAVAILABLE', 'no cuda');
    expect(explainLoadFailure(PATH, coded, [])).toBe(coded);
  });
});

describe('checkContextFit', () => {
  it.each([
    [10, 6, 16],
    [15, undefined, 16],
    [16, 0, 16],
  ])('%d prompt tokens and %p fit into %d', (prompt, max, size) =>
    expect(() => checkContextFit(prompt, max, size)).not.toThrow(),
  );

  it.each([
    [10, 7, 16, /10 tokens plus 7 tokens to generate: 17 in all, the context holds 16/, /at most 6 tokens/],
    [16, undefined, 16, /16 tokens: 17 in all, the context holds 16/, /shorten/],
    [17, 0, 16, /17 tokens: 17 in all/, /shorten/],
  ])('%d and %p do not fit into %d', (prompt, max, size, message, suggestion) => {
    expect(() => checkContextFit(prompt, max, size)).toThrow(
      expect.objectContaining({
        code: 'CONTEXT_LENGTH_EXCEEDED',
        message: expect.stringMatching(message),
        suggestion: expect.stringMatching(suggestion),
        details: expect.objectContaining({ prompt_tokens: prompt, context_size: size }),
      }),
    );
  });
});
