import { systemClock } from '@rbee/daemon-kit';
import type { Resume } from '@rbee/protocol';
import { Engine, type GenerateOptions, type Job, type Lease } from '../engine.js';
import type { GenerationEnd } from '../generation.js';
import type { LoadOptions } from '../load-engine.js';
import { GREEDY, type Sampling } from '../sampling.js';
import { bundledModel } from './bundled-model.js';

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

/** An engine with the bundled model on the CPU. */
export function loadBundled(options: Partial<LoadOptions> = {}): Promise<Engine> {
  return Engine.load({
    modelPath: bundledModel(),
    backend: 'cpu',
    slots: 4,
    log: quiet,
    now: systemClock.monotonic,
    ...options,
  });
}

export interface RunOptions {
  readonly prompt: string;
  readonly template?: 'auto' | 'none';
  readonly sampling?: Partial<Sampling>;
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly cachePrompt?: boolean;
  readonly resume?: Resume;
  readonly signal?: AbortSignal;
  readonly emit?: GenerateOptions['emit'];
}

export interface RunResult {
  readonly text: string;
  readonly ids: number[];
  /** Text and ids of each emission. */
  readonly events: readonly { text: string; ids: readonly number[] }[];
  readonly end: GenerationEnd;
}

/** A signal that nobody aborts. */
export const NEVER = new AbortController().signal;

export function prepare(engine: Engine, options: RunOptions): Promise<Job> {
  const { prompt, template = 'auto', maxTokens, cachePrompt = true, resume } = options;
  return engine.prepare({ prompt, template }, { maxTokens, cachePrompt, resume }, NEVER);
}

/** Generates in a slot that is taken already, and collects what comes out. */
export async function generate(lease: Lease, options: Omit<RunOptions, 'prompt'>): Promise<RunResult> {
  const events: { text: string; ids: readonly number[] }[] = [];
  try {
    const { end } = lease.generate({
      sampling: { ...GREEDY, ...options.sampling },
      stop: options.stop ?? [],
      signal: options.signal ?? NEVER,
      emit: (text, ids) => {
        events.push({ text, ids: [...ids] });
        return options.emit?.(text, ids);
      },
    });
    const result = await end;
    const ids = events.flatMap((event) => event.ids);
    return { text: events.map((event) => event.text).join(''), ids, events, end: result };
  } finally {
    await lease.release();
  }
}

/** One whole request. Throws when no slot is free. */
export async function run(engine: Engine, options: RunOptions): Promise<RunResult> {
  const lease = engine.take(await prepare(engine, options));
  if (!lease) throw new Error('no slot is free');
  return await generate(lease, options);
}
