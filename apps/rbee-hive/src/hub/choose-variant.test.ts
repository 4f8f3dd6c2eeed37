import { describe, expect, it } from '@jest/globals';
import { chooseVariant, defaultVariant, groupVariants } from './choose-variant.js';
import type { HubFile } from './hub.js';

let size = 1000;
const files = (...paths: string[]): HubFile[] => paths.map((path) => ({ path, sizeBytes: size++, digest: undefined }));
const parts = (stem: string, count: number) =>
  Array.from(
    { length: count },
    (_, index) => `${stem}-${String(index + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.gguf`,
  );
const names = (listing: readonly HubFile[]) => groupVariants(listing).map(({ variant }) => variant);
const choose = (listing: readonly HubFile[], variant?: string) =>
  chooseVariant({ provider: 'hf', reference: 'org/repo', ...(variant === undefined ? {} : { variant }) }, listing);

const BARTOWSKI = files(
  'google_gemma-3-4b-it-IQ3_XXS.gguf',
  'google_gemma-3-4b-it-Q3_K_XL.gguf',
  'google_gemma-3-4b-it-IQ4_NL.gguf',
  'google_gemma-3-4b-it-Q4_0.gguf',
  'google_gemma-3-4b-it-Q4_K_M.gguf',
  'google_gemma-3-4b-it-Q6_K_L.gguf',
  'google_gemma-3-4b-it-Q8_0.gguf',
  'google_gemma-3-4b-it-bf16.gguf',
  'google_gemma-3-4b-it-imatrix.gguf',
  'mmproj-google_gemma-3-4b-it-f16.gguf',
);
const UNSLOTH = files(
  'Qwen3-30B-A3B-UD-IQ1_S.gguf',
  'Qwen3-30B-A3B-Q4_K_M.gguf',
  'Qwen3-30B-A3B-UD-Q4_K_XL.gguf',
  ...parts('BF16/Qwen3-30B-A3B-BF16', 2),
  'mmproj-BF16.gguf',
);
const SPLIT = files(...parts('UD-Q2_K_XL/DeepSeek-R1-UD-Q2_K_XL', 3), ...parts('UD-Q4_K_XL/DeepSeek-R1-UD-Q4_K_XL', 2));

describe('the variants of a repository', () => {
  it.each<[string, HubFile[], string[]]>([
    ['bartowski', BARTOWSKI, ['IQ3_XXS', 'Q3_K_XL', 'IQ4_NL', 'Q4_0', 'Q4_K_M', 'Q6_K_L', 'Q8_0', 'BF16']],
    ['unsloth', UNSLOTH, ['UD-IQ1_S', 'Q4_K_M', 'UD-Q4_K_XL', 'BF16']],
    ['unsloth, split in folders', SPLIT, ['UD-Q4_K_XL', 'UD-Q2_K_XL']],
    [
      'TheBloke',
      files('tinyllama-1.1b-chat-v1.0.Q2_K.gguf', 'tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf'),
      ['Q2_K', 'Q4_K_M'],
    ],
    ['mradermacher', files('Some-Model.i1-IQ2_XS.gguf', 'Some-Model.i1-Q4_K_M.gguf'), ['IQ2_XS', 'Q4_K_M']],
    ['Qwen', files('qwen2.5-0.5b-instruct-fp16.gguf', 'qwen2.5-0.5b-instruct-q4_k_m.gguf'), ['FP16', 'Q4_K_M']],
    ['ggml-org', files('gpt-oss-20b-mxfp4.gguf'), ['MXFP4']],
    ['microsoft', files('Phi-3-mini-4k-instruct-q4.gguf', 'Phi-3-mini-4k-instruct-fp16.gguf'), ['Q4', 'FP16']],
    ['bitnet', files('ggml-model-i2_s.gguf', 'bitnet-TQ1_0.gguf'), ['ggml-model-i2_s', 'TQ1_0']],
    ['a single file', files('model.gguf'), ['model']],
    ['quantization in the folder only', files('Q4_K_M/model.gguf', 'Q8_0/model.gguf'), ['Q4_K_M', 'Q8_0']],
    [
      'two models',
      files('small-Q4_K_M.gguf', 'large-Q4_K_M.gguf', 'large-Q8_0.gguf'),
      ['small-Q4_K_M', 'large-Q4_K_M', 'Q8_0'],
    ],
    ['one name in two folders', files('a/m-Q8_0.gguf', 'b/m-Q8_0.gguf'), ['a/m-Q8_0', 'b/m-Q8_0']],
    ['whole and in parts', files('m-Q8_0.gguf', ...parts('m-Q8_0', 2)), ['Q8_0']],
    ['nothing to run', files('mmproj-F16.gguf', 'imatrix.gguf', 'my model.gguf', '../x.gguf', 'a/../x.gguf'), []],
  ])('%s', (_, listing, expected) => {
    expect(names(listing)).toEqual(expected);
  });

  it('takes the parts of a split model as one, in their order', () => {
    const shuffled = [...SPLIT].reverse();
    const variant = groupVariants(shuffled).find(({ variant }) => variant === 'UD-Q2_K_XL');
    expect(variant?.files).toEqual(SPLIT.slice(0, 3));
    expect(variant?.sizeBytes).toBe(SPLIT.slice(0, 3).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  });

  it('leaves out a set that lacks a part', () => {
    expect(names(SPLIT.slice(1))).toEqual(['UD-Q4_K_XL']);
    expect(names(SPLIT.filter((_, index) => index !== 1))).toEqual(['UD-Q4_K_XL']);
  });
});

describe('the variant that a reference means', () => {
  it('is Q4_K_M, or the only one, when none is named', () => {
    expect(choose(UNSLOTH).variant).toBe('Q4_K_M');
    expect(choose(files('gpt-oss-20b-mxfp4.gguf', 'mmproj-F16.gguf')).variant).toBe('MXFP4');
    expect(defaultVariant(groupVariants(SPLIT))).toBeUndefined();
  });

  it.each<[string, HubFile[], string, string]>([
    ['a quantization in any case', BARTOWSKI, 'q4_k_m', 'google_gemma-3-4b-it-Q4_K_M.gguf'],
    ['a file name', BARTOWSKI, 'google_gemma-3-4b-it-Q8_0.gguf', 'google_gemma-3-4b-it-Q8_0.gguf'],
    ['a file name without extension', BARTOWSKI, 'google_gemma-3-4b-it-q8_0', 'google_gemma-3-4b-it-Q8_0.gguf'],
    ['a dynamic quantization', UNSLOTH, 'ud-q4_k_xl', 'Qwen3-30B-A3B-UD-Q4_K_XL.gguf'],
    ['a split model', UNSLOTH, 'BF16', 'BF16/Qwen3-30B-A3B-BF16-00001-of-00002.gguf'],
    ['a split model by its stem', UNSLOTH, 'Qwen3-30B-A3B-BF16', 'BF16/Qwen3-30B-A3B-BF16-00001-of-00002.gguf'],
    [
      'any part of it',
      UNSLOTH,
      'BF16/Qwen3-30B-A3B-BF16-00002-of-00002.gguf',
      'BF16/Qwen3-30B-A3B-BF16-00001-of-00002.gguf',
    ],
    ['a file in its folder', files('a/m-Q8_0.gguf', 'b/m-Q8_0.gguf'), 'b/m-Q8_0', 'b/m-Q8_0.gguf'],
  ])('is found by %s', (_, listing, wanted, first) => {
    expect(choose(listing, wanted).files[0]?.path).toBe(first);
  });

  it('is found by the variant that was shown for it', () => {
    for (const listing of [BARTOWSKI, UNSLOTH, SPLIT, files('a/m-Q8_0.gguf', 'b/m-Q8_0.gguf', 'm.gguf')]) {
      for (const { variant, files } of groupVariants(listing)) expect(choose(listing, variant).files).toEqual(files);
    }
  });

  const refusal = (listing: readonly HubFile[], variant?: string) => {
    try {
      return choose(listing, variant);
    } catch (error) {
      return error;
    }
  };

  it('or is refused with what there is and one command', () => {
    expect(refusal(SPLIT)).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      retryable: false,
      message: 'hf:org/repo has several variants and none named Q4_K_M; there are: UD-Q4_K_XL, UD-Q2_K_XL',
      details: { model: 'hf:org/repo', variants: ['UD-Q4_K_XL', 'UD-Q2_K_XL'] },
      suggestion: 'name one of them, for example: rbee-keeper models pull hf:org/repo:UD-Q4_K_XL',
    });
    expect(refusal(BARTOWSKI, 'Q6_K')).toMatchObject({
      message: expect.stringMatching(/^hf:org\/repo has no single variant Q6_K; there are: IQ3_XXS, .*BF16$/),
      suggestion: expect.stringMatching(/ hf:org\/repo:Q6_K_L$/),
    });
  });

  it('is not guessed where a name fits several', () => {
    expect(refusal(files('a/m-Q8_0.gguf', 'b/m-Q8_0.gguf'), 'm-Q8_0')).toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });

  it('is nothing where there is no model', () => {
    expect(refusal(files('mmproj-F16.gguf'))).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: expect.stringContaining('no complete GGUF file'),
      details: { variants: [] },
    });
  });

  it('lists no more than a dozen in its message', () => {
    const many = files(...Array.from({ length: 20 }, (_, index) => `m${index}.gguf`));
    expect(refusal(many)).toMatchObject({ message: expect.stringMatching(/m11 and 8 more$/) });
  });
});
