import { z } from 'zod';
import { acceptAliases, checkTogether, optional, type Refuse, withDefault } from './field.js';
import { jobIdSchema } from './identifiers.js';
import { narrationSchema } from './narration.js';

/** Text for the model: at least one character, no NUL. Its length is bounded by the body limit and the model's context. */
export const promptSchema = z
  .string()
  .min(1, 'must not be empty')
  .refine((text) => !text.includes('\0'), 'must not contain NUL');

/** One message of a conversation. */
export const messageSchema = z.object({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  content: z.string().refine((text) => !text.includes('\0'), 'must not contain NUL'),
});
export type Message = z.output<typeof messageSchema>;

/** What generation starts from; exactly one of `prompt` and `messages`. */
export const inputFields = {
  prompt: optional(promptSchema),
  messages: optional(z.array(messageSchema).min(1).max(4096)),
  /** `auto`: a prompt becomes one user message when the model has a chat template; `none`: the text goes to the model as it is. */
  template: withDefault(z.enum(['auto', 'none']), 'auto'),
};

/** Exactly one of `prompt` and `messages` is given, and messages have their template. */
export function requireOneInput(body: Readonly<Record<string, unknown>>, refuse: Refuse): void {
  const { prompt, messages, template } = body;
  if ((prompt == null) === (messages == null)) refuse('prompt', 'give exactly one of prompt and messages');
  if (messages != null && template === 'none') refuse('template', 'messages need the chat template: use "auto"');
}

/** Fields that decide how the next token is chosen; all optional. */
export const samplingFields = {
  /** Upper bound of generated tokens; left out: until the model ends or the context is full. */
  max_tokens: optional(z.number().int().min(1)),
  /** 1 is off. */
  top_p: withDefault(z.number().min(0).max(1), 1),
  /** 0 is off. */
  top_k: withDefault(z.number().int().min(0), 0),
  /** 0 is off. */
  min_p: withDefault(z.number().min(0).max(1), 0),
  /** 1 is off. */
  repetition_penalty: withDefault(z.number().gt(0).max(2), 1),
  /** Left out: a random 32-bit number of its own for each request. */
  seed: optional(z.number().int().min(0).max(0xffffffff)),
  /** Texts that end generation; none of them, nor a part of a matched one, is ever sent. */
  stop: withDefault(
    z
      .union(
        [z.string().min(1).max(100), z.array(z.string().min(1).max(100)).max(4)],
        'must be 1 to 100 characters, or at most 4 texts of that length',
      )
      .transform((stop) => (typeof stop === 'string' ? [stop] : stop)),
    [],
  ),
  /** Whether a cached prefix may be reused; `false` starts from an empty cache, which makes a seeded repeat bit-identical. */
  cache_prompt: withDefault(z.boolean(), true),
};

/**
 * Where a lost generation goes on: the tokens of the prompt, those already delivered, and the next event index. Greedy output
 * goes on as it would have. A sampled one goes on with `seedOfResumed` of its seed and the number of delivered tokens, so that the
 * same loss always gives the same text.
 */
export const resumeSchema = z.object({
  prompt_ids: z.array(z.number().int().min(0)).min(1),
  ids: z.array(z.number().int().min(0)),
  next_i: z.number().int().min(0),
});
export type Resume = z.output<typeof resumeSchema>;

/** Seed of the random numbers behind `delivered` tokens: (seed + 2,654,435,769 × delivered) mod 2^32; the seed itself for 0. */
export function seedOfResumed(seed: number, delivered: number): number {
  return (seed + Math.imul(0x9e3779b9, delivered)) >>> 0;
}

/** Body of `POST /v1/inference` of a worker. */
export const inferenceRequestSchema = acceptAliases(
  { request_id: 'job_id' },
  checkTogether(
    z.object({
      job_id: optional(jobIdSchema),
      ...inputFields,
      /** 0 is greedy. */
      temperature: withDefault(z.number().min(0).max(2), 1),
      ...samplingFields,
      stream: withDefault(z.boolean(), true),
      /** `started` then tells the token ids of the prompt, with which the job can go on elsewhere. */
      resumable: withDefault(z.boolean(), false),
      resume: optional(resumeSchema),
    }),
    requireOneInput,
  ),
);
export type InferenceRequest = z.output<typeof inferenceRequestSchema>;
export type InferenceRequestInput = z.input<typeof inferenceRequestSchema>;

export const STOP_REASONS = ['MAX_TOKENS', 'EOS', 'STOP_SEQUENCE', 'CONTEXT_FULL'] as const;
export type StopReason = (typeof STOP_REASONS)[number];

export const startedEventSchema = z.object({
  type: z.literal('started'),
  job_id: z.string(),
  model: z.string(),
  started_at: z.string(),
  /** Only where the request was `resumable`; the queen keeps them to itself. */
  prompt_ids: optional(z.array(z.number().int())),
});

export const tokenEventSchema = z.object({
  type: z.literal('token'),
  /** Text, valid UTF-8 by itself. */
  t: z.string(),
  /** Index of the event, from 0, without gaps. */
  i: z.number().int().min(0),
  /** Every token id that the text covers; several where text was held back. */
  ids: optional(z.array(z.number().int())),
});
export type TokenEvent = z.output<typeof tokenEventSchema>;

export const metricsEventSchema = z.object({
  type: z.literal('metrics'),
  job_id: z.string(),
  tokens_out: z.number(),
  tokens_per_sec: z.number(),
  decode_time_ms: z.number(),
  vram_bytes: z.number(),
  prompt_tokens: optional(z.number()),
  cached_tokens: optional(z.number()),
  prompt_ms: optional(z.number()),
  decode_ms: optional(z.number()),
});

/** Figures of a finished generation. */
export const generationFields = {
  /** Tokens that the model generated. */
  tokens_out: z.number(),
  /** How many of them came from workers that were lost before; the times below are without them. */
  resumed_tokens: optional(z.number().int()),
  /** Milliseconds from the end of prompt evaluation to the last token. */
  decode_time_ms: z.number(),
  stop_reason: z.enum(STOP_REASONS),
  stop_sequence_matched: optional(z.string()),
  prompt_tokens: optional(z.number()),
  /** Tokens of the prompt that were in the cache already and cost nothing. */
  cached_tokens: optional(z.number()),
  prompt_ms: optional(z.number()),
  decode_ms: optional(z.number()),
};

export const endEventSchema = z.object({ type: z.literal('end'), ...generationFields });
export type EndEvent = z.output<typeof endEventSchema>;

/** Terminal event of any stream that failed. */
export const errorEventSchema = z.object({
  type: z.literal('error'),
  code: z.string(),
  message: z.string(),
  details: withDefault(z.record(z.string(), z.unknown()), {}),
  /** The HTTP status that the code would have had. */
  status: z.number(),
  retryable: z.boolean(),
  correlation_id: optional(z.string()),
});
export type ErrorEvent = z.output<typeof errorEventSchema>;

/** What a worker sends while it generates; ends in exactly one `end` or `error`. */
export const inferenceEventSchema = z.discriminatedUnion('type', [
  startedEventSchema,
  tokenEventSchema,
  narrationSchema,
  metricsEventSchema,
  endEventSchema,
  errorEventSchema,
]);
export type InferenceEvent = z.output<typeof inferenceEventSchema>;

/** Body of the answer to an inference or task with `stream: false`. */
export const generationResultSchema = z.object({ job_id: z.string(), text: z.string(), ...generationFields });
export type GenerationResult = z.output<typeof generationResultSchema>;

const olderToken = z.object({ token: z.string(), index: z.number().int() });
const olderEnd = z.object({ done: z.literal(true), total_tokens: z.number(), duration_ms: z.number() });

/** Brings the two older unnamed event shapes into today's form; anything else is returned as it is. */
export function normalizeInferenceEvent(data: unknown): unknown {
  if (typeof data !== 'object' || data === null || 'type' in data) return data;
  const token = olderToken.safeParse(data);
  if (token.success) return { type: 'token', t: token.data.token, i: token.data.index };
  const end = olderEnd.safeParse(data);
  if (end.success) {
    return { type: 'end', tokens_out: end.data.total_tokens, decode_time_ms: end.data.duration_ms, stop_reason: 'EOS' };
  }
  return data;
}
