import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Resume } from '@rbee/protocol';
import { seedOfResumed } from '@rbee/protocol';
import fc from 'fast-check';
import {
  getLlama,
  type Llama,
  type LlamaContextSequence,
  LlamaLogLevel,
  type LlamaModel,
  type Token,
} from 'node-llama-cpp';
import type { Engine } from './engine.js';
import { bundledModel } from './testing/bundled-model.js';
import { loadBundled, prepare, type RunOptions, type RunResult, run } from './testing/engine-run.js';

/** Two greedy answers may part where the logits of the two best tokens are closer than this: batches of another shape sum in another order. */
const FLOAT_NOISE = 0.1;
const PROMPTS = [
  'write a short story',
  'Write a poem about a cat.',
  'Tell me about the sea',
  'What is the capital of France?',
];

let engine: Engine;
let other: Engine;
/** The engine used directly, to look at its logits. */
let direct: { llama: Llama; model: LlamaModel; sequence: LlamaContextSequence };

beforeAll(async () => {
  engine = await loadBundled();
  other = await loadBundled({ slots: 2 });
  const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error });
  llama.maxThreads = 1;
  const model = await llama.loadModel({ modelPath: bundledModel(), gpuLayers: 0 });
  const context = await model.createContext({ contextSize: 1024, flashAttention: false });
  direct = { llama, model, sequence: context.getSequence() };
});

afterAll(async () => {
  await engine.dispose();
  await other.dispose();
  await direct.llama.dispose();
});

/** What a queen knows when the worker is lost after some events. */
async function resumeBehind(options: RunOptions, whole: RunResult, events: number): Promise<Resume> {
  const { tokens, promptTokens } = await prepare(engine, options);
  const ids = whole.events.slice(0, events).flatMap((event) => event.ids);
  return { prompt_ids: tokens.slice(0, promptTokens), ids, next_i: events };
}

const textOf = (events: RunResult['events']): string => events.map(({ text }) => text).join('');

/** How far the logits of two tokens are apart behind other tokens. */
async function gap(before: readonly number[], one: number, two: number): Promise<number> {
  await direct.sequence.clearHistory();
  const tokens = before as Token[];
  const wanted = { generateNext: { logits: { filter: { tokens: [one, two] as Token[] } } } };
  const output = await direct.sequence.controlledEvaluate([...tokens.slice(0, -1), [tokens.at(-1) as Token, wanted]]);
  const logits = output.at(-1)?.next.logits;
  return Math.abs((logits?.get(one as Token) ?? 0) - (logits?.get(two as Token) ?? Number.POSITIVE_INFINITY));
}

/** Equal, or parting where float noise decides. */
async function expectSame(
  prompt: readonly number[],
  ids: readonly number[],
  expected: readonly number[],
): Promise<boolean> {
  const end = direct.model.tokens.eos as number;
  const [mine, theirs] = [
    [...ids, end],
    [...expected, end],
  ];
  const parts = mine.findIndex((id, index) => id !== theirs[index]);
  if (parts < 0) return true;
  const distance = await gap([...prompt, ...ids.slice(0, parts)], mine[parts] as number, theirs[parts] as number);
  expect(distance).toBeLessThan(FLOAT_NOISE);
  return false;
}

describe('an answer that is cut anywhere and goes on elsewhere', () => {
  const variants = fc.record({
    prompt: fc.constantFrom(...PROMPTS),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    elsewhere: fc.boolean(),
    cachePrompt: fc.boolean(),
    repetitionPenalty: fc.constantFrom(1, 1.2),
    maxTokens: fc.constantFrom(undefined, 60, 100),
    stop: fc.constantFrom<string[]>([], ['never there'], ['. She', ' and the']),
  });

  it('is the undisturbed one, in text, ids, figures and reason of its end', async () => {
    const whole = new Map<string, RunResult>();
    let [equal, runs] = [0, 0];
    await fc.assert(
      fc.asyncProperty(variants, async ({ cut, elsewhere, maxTokens, repetitionPenalty, ...rest }) => {
        const options = { ...rest, sampling: { repetitionPenalty }, ...(maxTokens ? { maxTokens } : {}) };
        const key = JSON.stringify([options.prompt, options.stop, options.sampling, maxTokens]);
        const undisturbed = whole.get(key) ?? (await run(engine, { ...options, cachePrompt: false }));
        whole.set(key, undisturbed);
        const events = Math.round(cut * undisturbed.events.length);
        const resume = await resumeBehind(options, undisturbed, events);
        const rest_ = await run(elsewhere ? other : engine, { ...options, resume });
        runs++;
        const ids = [...resume.ids, ...rest_.ids];
        expect(rest_.end.tokensOut).toBeGreaterThanOrEqual(ids.length);
        if (!(await expectSame(resume.prompt_ids, ids, undisturbed.ids))) return;
        equal++;
        expect(textOf(undisturbed.events.slice(0, events)) + rest_.text).toBe(undisturbed.text);
        const { tokensOut, stopReason, stopMatched, promptTokens } = undisturbed.end;
        expect(rest_.end).toMatchObject({ tokensOut, stopReason, stopMatched, promptTokens });
      }),
      { numRuns: 30 },
    );
    expect(equal).toBeGreaterThan(runs / 2);
  }, 60_000);
});

describe('an answer that goes on', () => {
  const options = { prompt: PROMPTS[0] as string, cachePrompt: false };
  let whole: RunResult;
  beforeAll(async () => {
    whole = await run(engine, options);
  });

  it.each([
    ['at its bound', 40, { stopReason: 'MAX_TOKENS', tokensOut: 40 }],
    ['one token before it', 41, { stopReason: 'MAX_TOKENS', tokensOut: 41 }],
  ])('ends %s', async (_where, maxTokens, end) => {
    const resume = await resumeBehind(options, whole, 40);
    const rest = await run(other, { ...options, maxTokens, resume });
    expect(rest.end).toMatchObject(end);
    expect(rest.ids).toHaveLength(maxTokens - 40);
  });

  it('says nothing more when only its end was lost', async () => {
    const resume = await resumeBehind(options, whole, whole.events.length);
    const rest = await run(other, { ...options, resume });
    expect(rest.events).toEqual([]);
    expect(rest.end).toMatchObject({ stopReason: 'EOS', tokensOut: whole.ids.length });
  });

  it('ends at a stop string that began before the break, of which nothing more is sent', async () => {
    const stop = whole.text.slice(30, 45);
    const cut = await run(engine, { ...options, stop: [stop] });
    for (const events of [cut.events.length, cut.events.length - 1]) {
      const resume = await resumeBehind(options, cut, events);
      const rest = await run(other, { ...options, stop: [stop], resume });
      expect(rest.end).toMatchObject({ stopReason: 'STOP_SEQUENCE', stopMatched: stop });
      expect(textOf(cut.events.slice(0, events)) + rest.text).toBe(cut.text);
    }
  });

  it('ends when the context is full, at the same token', async () => {
    const small = await loadBundled({ slots: 2, contextSize: 64 });
    try {
      const raw = { prompt: 'Once upon a time', template: 'none' as const, cachePrompt: false };
      const full = await run(small, raw);
      for (const events of [3, full.events.length - 1, full.events.length]) {
        const { tokens } = await prepare(small, raw);
        const ids = full.events.slice(0, events).flatMap((event) => event.ids);
        const rest = await run(small, { ...raw, resume: { prompt_ids: [...tokens], ids, next_i: events } });
        expect(rest.end).toMatchObject({ stopReason: 'CONTEXT_FULL', tokensOut: full.end.tokensOut });
        expect([...ids, ...rest.ids]).toHaveLength(full.ids.length);
      }
      const tooLong = { prompt_ids: new Array<number>(40).fill(5), ids: new Array<number>(25).fill(5), next_i: 25 };
      await expect(run(small, { ...raw, resume: tooLong })).rejects.toMatchObject({ code: 'CONTEXT_LENGTH_EXCEEDED' });
    } finally {
      await small.dispose();
    }
  });

  it('costs only what the slot does not hold yet', async () => {
    await run(other, { prompt: options.prompt, maxTokens: 50 });
    const resume = await resumeBehind(options, whole, 40);
    const rest = await run(other, { prompt: options.prompt, maxTokens: 45, resume });
    expect(rest.end).toMatchObject({ cachedTokens: rest.end.promptTokens, tokensOut: 45 });
  });

  it('takes the same turn again with the same seed', async () => {
    const resume = await resumeBehind(options, whole, 10);
    const say = (seed: number): Promise<RunResult> =>
      run(other, { ...options, maxTokens: 40, resume, sampling: { temperature: 1, seed } });
    const first = await say(seedOfResumed(7, 10));
    expect((await say(seedOfResumed(7, 10))).ids).toEqual(first.ids);
    expect((await say(seedOfResumed(7, 11))).ids).not.toEqual(first.ids);
  });
});
