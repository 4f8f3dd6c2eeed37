import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, type Token } from 'node-llama-cpp';
import { PromptTokenizer } from './prompt-tokenizer.js';
import { bundledModel } from './testing/bundled-model.js';
import { NEVER } from './testing/engine-run.js';

const words = [
  'The',
  ' quick',
  ' brown',
  ' fox',
  '\n',
  '\n\n',
  '. ',
  ', ',
  ' 42',
  " it's",
  '  ',
  '中文',
  ' 🙂',
  '<|im_end|>',
  '\t',
  '!!',
];
const longText = fc
  .tuple(fc.array(fc.constantFrom(...words), { minLength: 40, maxLength: 400 }), fc.nat())
  .map(([some, seed]) => {
    let state = seed;
    let text = '';
    while (text.length < 30_000) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      text += some[state % some.length];
    }
    return text;
  });

const limits = { contextSize: 1_000_000, signal: NEVER };

describe('the tokens of a long text', () => {
  let llama: Llama;
  let model: LlamaModel;
  let tokenizer: PromptTokenizer<Token>;
  beforeAll(async () => {
    llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error });
    model = await llama.loadModel({ modelPath: bundledModel(), gpuLayers: 0 });
    const names = model.fileInfo.metadata.tokenizer?.ggml?.tokens ?? [];
    const tokenize = (text: string, control: boolean, trim?: 'trimLeadingSpace') => model.tokenize(text, control, trim);
    tokenizer = new PromptTokenizer({ form: 'byte-letters', names, tokenize });
  });
  afterAll(() => llama.dispose());

  it('are the same in slices', async () => {
    await fc.assert(
      fc.asyncProperty(longText, fc.boolean(), async (text, control) => {
        const tokens: Token[] = [];
        await tokenizer.append(tokens, text, control, limits);
        expect(tokens).toEqual(model.tokenize(text, control));
      }),
      { numRuns: 20 },
    );
  }, 60_000);

  it('stand for the text also where it can be cut nowhere', async () => {
    const text = 'ab中'.repeat(20_000);
    const tokens: Token[] = [];
    await tokenizer.append(tokens, text, false, limits);
    expect(model.detokenize(tokens)).toBe(text);
  });

  it('are counted no further than they fit', async () => {
    const append = (text: string) => tokenizer.append([], text, false, { contextSize: 1024, signal: NEVER });
    const refused = {
      code: 'CONTEXT_LENGTH_EXCEEDED',
      details: { context_size: 1024, prompt_tokens: expect.any(Number) },
    };
    for (const text of ['The quick brown fox. '.repeat(12_000), 'a'.repeat(250_000), ' '.repeat(250_000)]) {
      await expect(append(text)).rejects.toMatchObject(refused);
    }
  });

  it('are given up when nobody wants them any more', async () => {
    const abort = new AbortController();
    const reason = new Error('gone');
    const work = tokenizer.append([], 'The fox. '.repeat(20_000), false, { ...limits, signal: abort.signal });
    setImmediate(() => abort.abort(reason));
    await expect(work).rejects.toBe(reason);
  });

  it('leave room for everything else meanwhile', async () => {
    let turns = 0;
    let done = false;
    const count = (): void => {
      turns++;
      if (!done) setImmediate(count);
    };
    setImmediate(count);
    await tokenizer.append([], 'The quick brown fox. '.repeat(10_000), false, limits);
    done = true;
    expect(turns).toBeGreaterThan(40);
  });
});

/**
 * SentencePiece as the engine does it: neighbours that make a token are joined, best token first, the leftmost first of several;
 * what is left over stands for itself. A space goes in front of the text.
 */
function toSentencePiece(names: readonly string[]) {
  const ids = new Map(names.map((name, id) => [name, id]));
  return (text: string, _control: boolean, trim?: 'trimLeadingSpace'): number[] => {
    const symbols = [...`${trim || text === '' ? '' : '▁'}${text.replaceAll(' ', '▁')}`];
    for (;;) {
      let best: { at: number; id: number } | undefined;
      for (let at = 0; at + 1 < symbols.length; at++) {
        const id = ids.get(`${symbols[at]}${symbols[at + 1]}`);
        if (id !== undefined && (!best || id < best.id)) best = { at, id };
      }
      if (!best) break;
      symbols.splice(best.at, 2, `${symbols[best.at]}${symbols[best.at + 1]}`);
    }
    return symbols.map((symbol) => ids.get(symbol) ?? 1000 + (symbol.codePointAt(0) ?? 0));
  };
}

describe('a tokenizer that joins neighbours', () => {
  const letters = fc.constantFrom('a', 'b', 'c', '▁');
  const vocabulary = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { maxLength: 30 });

  it('gives the same tokens in slices for any vocabulary', async () => {
    await fc.assert(
      fc.asyncProperty(
        vocabulary,
        fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), minLength: 30, maxLength: 60 }),
        async (names, piece) => {
          const unique = [...new Set(names)];
          const tokenize = toSentencePiece(unique);
          const tokenizer = new PromptTokenizer({
            form: 'sentencepiece',
            names: unique,
            tokenize,
            slices: { shortest: 8, longest: 1000 },
          });
          const text = piece.repeat(2);
          const tokens: number[] = [];
          await tokenizer.append(tokens, text, false, limits);
          expect(tokens).toEqual(tokenize(text, false));
        },
      ),
      { numRuns: 300 },
    );
  });
});
