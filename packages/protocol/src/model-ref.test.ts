import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseInput } from './field.js';
import {
  BUNDLED_MODEL_REF,
  fileStem,
  findModel,
  formatModelRef,
  type ModelRef,
  modelRefSchema,
  parseModelRef,
} from './model-ref.js';

describe('a model reference', () => {
  it.each<[string, ModelRef]>([
    ['hf:org/repo', { provider: 'hf', reference: 'org/repo' }],
    [
      'hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF',
      { provider: 'hf', reference: 'TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF' },
    ],
    ['hf:org/repo:Q4_K_M', { provider: 'hf', reference: 'org/repo', variant: 'Q4_K_M' }],
    ['hf:o/r_1:file-q4.gguf', { provider: 'hf', reference: 'o/r_1', variant: 'file-q4.gguf' }],
    [
      'hf:o/r:Q4/file-00001-of-00002.gguf',
      { provider: 'hf', reference: 'o/r', variant: 'Q4/file-00001-of-00002.gguf' },
    ],
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
    ['hf:org/repo:a//b', 'special_characters'],
    ['hf:org/repo:/etc/x', 'special_characters'],
    ['hf:org/repo:a/', 'special_characters'],
    ['hf:org/repo:..', 'path_traversal'],
    ['hf:org/repo:a/../b', 'path_traversal'],
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

  it.each(['file:///models/../etc/passwd', 'file:///models/..', 'file:/models/./x.gguf', 'file:///../x.gguf'])(
    'may not lead out of a folder: %s',
    (text) => {
      expect(() => parseInput(modelRefSchema, text, 'the model')).toThrow(
        expect.objectContaining({
          code: 'INVALID_PATH',
          details: expect.objectContaining({ reason: 'path_traversal' }),
        }),
      );
    },
  );

  it('may have dots in the name of a file', () => {
    expect(parseInput(modelRefSchema, 'file:///models/a..b/.x...gguf', 'the model')).toMatch(/^file:/);
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

describe('which model a reference means', () => {
  const row = (
    reference: string,
    variant: string | undefined,
    file: string,
    provider: ModelRef['provider'] = 'hf',
  ) => ({
    provider,
    reference,
    variant,
    local_path: `/models/${file}`,
  });
  const q8 = row('o/r', 'Q8_0', 'r.Q8_0.gguf');
  const q4 = row('o/r', 'Q4_K_M', 'r.Q4_K_M.gguf');
  const split = row('o/r', 'F16', 'r-f16-00001-of-00003.gguf');
  const other = row('o/other', 'Q4_K_M', 'other.Q4_K_M.gguf');
  const only = row('o/only', 'model', 'model.gguf');
  const bundled = row('honeycomb', 'q4_k_m', 'honeycomb-q4_k_m.gguf', 'builtin');
  const bundled8 = row('honeycomb', 'q8_0', 'honeycomb-q8_0.gguf', 'builtin');
  const local = row('/models/own.gguf', undefined, 'own.gguf', 'local');
  const models = [q8, other, q4, split, only, bundled8, bundled, local];

  it.each([
    ['hf:o/r', q4],
    ['hf:o/r:Q4_K_M', q4],
    ['hf:o/r:q4_k_m', q4],
    ['hf:o/r:Q8_0', q8],
    ['hf:o/r:r.Q8_0.gguf', q8],
    ['hf:o/r:folder/R.q8_0', q8],
    ['hf:o/r:r-f16-00001-of-00003.gguf', split],
    ['hf:o/r:Q5_K_M', undefined],
    ['hf:o/only', only],
    ['hf:o/only:Q4_K_M', undefined],
    ['hf:x/r', undefined],
    ['builtin:honeycomb', bundled],
    ['builtin:honeycomb:Q8_0', bundled8],
    ['builtin:honeycomb:f16', undefined],
    ['file:///models/own.gguf', local],
    ['file:///models/gone.gguf', undefined],
  ])('%s', (text, model) => {
    expect(findModel(models, parseModelRef(text) as ModelRef)).toBe(model);
  });

  it('takes the first one that is there where the default is not', () => {
    expect(findModel([q8, split], { provider: 'hf', reference: 'o/r' })).toBe(q8);
    expect(findModel([bundled8], { provider: 'builtin', reference: 'honeycomb' })).toBeUndefined();
  });

  it.each([
    ['a/b/c.Q4_K_M.gguf', 'c.Q4_K_M'],
    ['m-00002-of-00010.GGUF', 'm'],
    ['m', 'm'],
  ])('the stem of %s is %s', (path, stem) => expect(fileStem(path)).toBe(stem));
});
