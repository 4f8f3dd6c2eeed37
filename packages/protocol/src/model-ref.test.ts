import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseInput } from './field.js';
import { BUNDLED_MODEL_REF, formatModelRef, type ModelRef, modelRefSchema, parseModelRef } from './model-ref.js';

describe('a model reference', () => {
  it.each<[string, ModelRef]>([
    ['hf:org/repo', { provider: 'hf', reference: 'org/repo' }],
    [
      'hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF',
      { provider: 'hf', reference: 'TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF' },
    ],
    ['hf:org/repo:Q4_K_M', { provider: 'hf', reference: 'org/repo', variant: 'Q4_K_M' }],
    ['hf:o/r_1:file-q4.gguf', { provider: 'hf', reference: 'o/r_1', variant: 'file-q4.gguf' }],
    ['file:///models/x.gguf', { provider: 'local', reference: '/models/x.gguf' }],
    ['file:/models/my model.gguf', { provider: 'local', reference: '/models/my model.gguf' }],
    [BUNDLED_MODEL_REF, { provider: 'builtin', reference: 'honeycomb' }],
    ['builtin:honeycomb:q4_k_m', { provider: 'builtin', reference: 'honeycomb', variant: 'q4_k_m' }],
  ])('may be %s', (text, ref) => {
    expect(parseModelRef(text)).toEqual(ref);
    expect(parseInput(modelRefSchema, text, 'the model')).toBe(text);
    expect(parseModelRef(formatModelRef(ref))).toEqual(ref);
  });

  it.each([
    ['', 'special_characters'],
    ['org/repo', 'special_characters'],
    ['tinyllama', 'special_characters'],
    ['hf:', 'special_characters'],
    ['hf:org', 'special_characters'],
    ['hf:org/', 'special_characters'],
    ['hf:org/repo/more', 'special_characters'],
    ['hf:org/repo:', 'special_characters'],
    ['hf:org/repo:q4:q5', 'special_characters'],
    ['HF:org/repo', 'special_characters'],
    ['hf:org/re po', 'special_characters'],
    ['hf:org/a..b', 'special_characters'],
    ['hf:org/repo:..', 'path_traversal'],
    ['builtin:honeycomb:..', 'path_traversal'],
    ['hf:../../etc/passwd', 'path_traversal'],
    ['hf:org/../x', 'path_traversal'],
    ['/etc/passwd', 'absolute_path'],
    ['file:relative.gguf', 'special_characters'],
    ['https://host/x.gguf', 'special_characters'],
    ['hf:org/repo\n', 'newline'],
    ['hf:org/repo\r\nX: y', 'newline'],
    ['hf:org/\u001b[31mrepo', 'ansi_escape'],
    ['hf:org/repo\0', 'null_byte'],
    ['hf:org/répo', 'non_ascii'],
    ['hf:оrg/repo', 'non_ascii'],
    ['hf:org/<img>', 'html'],
    ["hf:org/repo'; DROP TABLE models; --", 'shell_metacharacters'],
    ['hf:org/$(reboot)', 'shell_metacharacters'],
    ['file:///models/`id`.gguf', 'shell_metacharacters'],
    [`hf:org/${'x'.repeat(506)}`, 'too_long'],
  ])('may not be %j: %s', (text, reason) => {
    expect(parseModelRef(text)).toBeUndefined();
    expect(() => parseInput(modelRefSchema, text, 'the model')).toThrow(
      expect.objectContaining({ code: 'INVALID_MODEL_REF', details: expect.objectContaining({ reason }) }),
    );
  });

  it('may have 512 characters', () => expect(parseModelRef(`hf:org/${'x'.repeat(505)}`)).toBeDefined());

  it('names the accepted forms when it is refused', () => {
    expect(() => parseInput(modelRefSchema, 'x', 'the model')).toThrow(/hf:org\/repo.*file:\/\/\/.*builtin:honeycomb/);
  });

  it('is read back from its own text form', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,20}$/);
    fc.assert(
      fc.property(word, word, fc.option(word, { nil: undefined }), (org, repo, variant) => {
        const ref: ModelRef = {
          provider: 'hf',
          reference: `${org}/${repo}`,
          ...(variant === undefined ? {} : { variant }),
        };
        expect(parseModelRef(formatModelRef(ref))).toEqual(ref);
      }),
    );
  });

  it('never crashes the reader', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const ref = parseModelRef(text);
        expect(ref === undefined || parseModelRef(formatModelRef(ref)) !== undefined).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
