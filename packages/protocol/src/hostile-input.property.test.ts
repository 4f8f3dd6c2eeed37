import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { z } from 'zod';
import { parseInput } from './field.js';
import { hiveRoutes } from './hive-routes.js';
import { queenRoutes } from './queen-routes.js';
import { isRbeeError, type RbeeError } from './rbee-error.js';
import type { RouteTable } from './route.js';
import { REFUSAL_REASONS } from './text.js';
import { workerRoutes } from './worker-routes.js';

const RUNS = 10_000;
/** fast-check prints it with what failed; with another one other inputs are tried. */
const SEED = 20_300_131;
/** In every text that is sent: what it stands in was copied from the sender. */
const MARKER = 'Q7X';

const TABLES: Record<string, RouteTable> = { queen: queenRoutes, hive: hiveRoutes, worker: workerRoutes };
const PARTS = ['params', 'query', 'body'] as const;

/** Every schema that a service holds against what comes from outside. */
const schemas = Object.entries(TABLES).flatMap(([service, table]) =>
  Object.entries(table).flatMap(([name, route]) =>
    PARTS.flatMap((part) => {
      const schema = route[part];
      return schema ? [{ title: `${service}: ${part} of ${name}`, schema }] : [];
    }),
  ),
);

const DIGEST = 'a'.repeat(64);

/** A good value for each field, by name. */
const GOOD: Record<string, unknown> = {
  backend: 'cpu',
  backends: ['cpu', 'cuda'],
  cache_prompt: true,
  capabilities: ['cuda:1', 'cpu'],
  capability: 'cuda:0',
  context_size: 512,
  device: 0,
  devices: { cpu: 1 },
  download_id: 'job-1',
  error: { code: 'MODEL_LOAD_FAILED', message: 'the file is damaged', details: { file: 'm.gguf', parts: ['a'] } },
  files: [{ name: 'm.gguf', size_bytes: 10, digest: DIGEST }],
  follow: 'true',
  git_branch: 'main',
  git_repo_url: 'https://git.example/rbee.git',
  health_status: 'healthy',
  hive_port: 9200,
  hive_token_file: '/etc/rbee/key',
  hive_url: 'http://10.0.0.2:9200',
  host_key_fingerprint: `SHA256:${'a'.repeat(43)}`,
  id: 'tinyllama-q4',
  index: '0',
  install_path: '~/rbee',
  job_id: 'job-1',
  jobs_active: 1,
  last_job_ended_at: '2030-01-31T12:00:00.000Z',
  lease_id: 'lease-1',
  lines: '10',
  max_tokens: 20,
  memory: {
    weights_bytes: 1,
    kv_cache_bytes: 2,
    compute_bytes: 3,
    total_bytes: 6,
    context_size: 512,
    slots: 1,
  },
  messages: [{ role: 'user', content: 'hi' }],
  min_p: 0,
  model: 'hf:org/repo:Q4_K_M',
  model_ref: 'hf:org/repo:Q4_K_M',
  models_loaded: ['builtin:honeycomb'],
  node: 'workstation',
  node_name: 'workstation',
  node_path: '/usr/bin/node',
  offset: '1024',
  on_disconnect: 'keep',
  only_if_idle_ms: 0,
  or_replacement: false,
  pid: 4711,
  pinned: true,
  priority: 'batch',
  prompt: 'hi',
  provider: 'hf',
  rbee_hive_url: 'http://10.0.0.2:9200',
  repetition_penalty: 1,
  request_id: 'job-1',
  resumable: true,
  resume: true,
  seed: 7,
  service: true,
  slots_available: 1,
  slots_total: 4,
  ssh_host: 'workstation.home.arpa',
  ssh_key_path: '/home/me/.ssh/id_ed25519',
  ssh_port: 22,
  ssh_user: 'me',
  state: 'loading',
  stop: ['\n', 'END'],
  stream: false,
  temperature: 0.7,
  template: 'auto',
  timeout_seconds: 60,
  timestamp: '2030-01-31T12:00:00Z',
  top_k: 0,
  top_p: 1,
  url: 'http://127.0.0.1:8001',
  vram_bytes: 0,
  worker: { backend: 'cpu', device: 0, slots_total: 1, context_size: 512 },
  worker_id: 'worker-1',
};

const WITHOUT_MESSAGES = { messages: undefined };
const WITHOUT_HIVE_URL = { hive_url: undefined, hive_token_file: undefined };

/** Where a field has another form than elsewhere, or does not go with another one. */
const OTHERWISE: Record<string, object> = {
  'queen: query of listTasks': { state: 'queued' },
  'queen: body of runTask': WITHOUT_MESSAGES,
  'queen: body of addNode': WITHOUT_HIVE_URL,
  'queen: body of updateNode': WITHOUT_HIVE_URL,
  'worker: body of infer': { ...WITHOUT_MESSAGES, resume: { prompt_ids: [1, 2], ids: [3], next_i: 1 } },
};

/** The fields of an object's schema, behind what renames or checks them. */
function fieldsOf(schema: z.ZodType): string[] {
  const def = schema.def as { type: string; shape?: object; out?: z.ZodType; left?: z.ZodType };
  if (def.shape) return Object.keys(def.shape);
  const inner = def.out ?? def.left;
  if (!inner) throw new Error(`a schema of the type ${def.type} is no object`);
  return fieldsOf(inner);
}

function goodInput(title: string, schema: z.ZodType): Record<string, unknown> {
  const entries = fieldsOf(schema).map((field) => {
    if (!(field in GOOD)) throw new Error(`give the field ${field} a good value: ${title} has it`);
    return [field, GOOD[field]] as const;
  });
  return { ...Object.fromEntries(entries), ...OTHERWISE[title] };
}

type Path = readonly (string | number)[];

/** Every place in a value, the value itself left out. */
function placesIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => {
    const place = [...path, Array.isArray(value) ? Number(name) : name];
    return [place, ...placesIn(item, place)];
  });
}

/** A copy with the value at a place made another one; as it is where an earlier change has taken away what the place was in. */
function change(value: unknown, [name, ...rest]: Path, make: (old: unknown) => unknown): unknown {
  if (name === undefined) return make(value);
  if (Array.isArray(value)) {
    if (typeof name !== 'number' || name >= value.length) return value;
    return value.with(name, change(value[name], rest, make));
  }
  if (typeof value !== 'object' || value === null) return value;
  return { ...value, [name]: change((value as Record<string | number, unknown>)[name], rest, make) };
}

function nest(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = MARKER;
  for (let level = 0; level < depth; level++) value = wrap(value);
  return value;
}

const HOSTILE_TEXTS = [
  '\0',
  '\n',
  '\r\n',
  '\t',
  '\u0007',
  '\u001b[31m',
  '\u001b]0;title\u0007',
  '\u009b31m',
  '\u007f',
  '\u0085',
  '\u200b',
  '\u202e',
  '\u2028',
  '\u2066',
  '\ufeff',
  '\ud800',
  '\udfff',
  '\u{e0041}',
  'ä',
  'е',
  '../',
  '/../../etc/passwd',
  '/etc/passwd',
  'C:\\Windows',
  '%2e%2e%2f',
  '$(reboot)',
  '`id`',
  '; rm -rf /',
  '| cat',
  '&& id',
  "' OR 1=1 --",
  '"); DROP TABLE models; --',
  '<script>alert(1)</script>',
  '{"level":"info"}',
  '{{7*7}}',
  '%s%n',
  '-oProxyCommand=id',
  'http://',
  'file:///',
  'hf:',
  '__proto__',
  'constructor',
];

const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...HOSTILE_TEXTS).map((part) => `${part}${MARKER}`) },
  { weight: 4, arbitrary: fc.constantFrom(...HOSTILE_TEXTS).map((part) => `${MARKER}${part}`) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary' }).map((part) => `${MARKER}${part}`) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme' }).map((part) => `${part}${MARKER}`) },
);
const numeric = fc.constantFrom(-1, -0, 0.5, 1e308, 5e-324, 2 ** 31, 2 ** 53, -(2 ** 53), Number.NaN, Infinity);
const numberText = fc.constantFrom('', ' ', '-1', '+1', '1e2', '0x10', '1.5', '1_0', '٣', 'NaN', '9'.repeat(30));
const flat = fc.oneof(text, numeric, numberText, fc.constantFrom(null, undefined, true, false, [], {}, 10n));
const hostile = fc.oneof(
  { weight: 8, arbitrary: text },
  { weight: 4, arbitrary: flat },
  { weight: 2, arbitrary: fc.array(flat, { maxLength: 5 }) },
  { weight: 2, arbitrary: fc.dictionary(text, flat, { maxKeys: 4 }) },
  { weight: 2, arbitrary: fc.anything({ withMap: true, withSet: true, withDate: true, withNullPrototype: true }) },
  {
    weight: 1,
    arbitrary: text.map((key) => JSON.parse(`{"__proto__":{"${MARKER}":1},"constructor":{${JSON.stringify(key)}:1}}`)),
  },
);
const LARGE = [
  MARKER + 'a'.repeat(2 ** 20),
  `${'a-.'.repeat(350_000)}${MARKER}`,
  nest(10_000, (inner) => [inner]),
  nest(10_000, (inner) => ({ [MARKER]: inner, cpu: inner })),
  Array<unknown>(20_000).fill(MARKER),
  Object.fromEntries(Array.from({ length: 5_000 }, (_none, index) => [`${MARKER}${index}`, MARKER])),
];

/** Made once: taking a value out of a list costs less than making it, ten thousand times for each schema. */
const hostileValues = [...fc.sample(hostile, { numRuns: 1_500, seed: SEED }), ...LARGE];

/** What is a text that a model reads, and so may be any. */
const FREE_TEXT: ReadonlySet<string> = new Set(['prompt', 'content', 'stop']);
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

function requirePrintable(accepted: unknown): void {
  const open: unknown[] = [accepted];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === 'string' && UNPRINTABLE.test(value)) throw new Error('a text with control characters passed');
    if (typeof value !== 'object' || value === null) continue;
    for (const [name, item] of Object.entries(value)) {
      if (FREE_TEXT.has(name)) continue;
      open.push(name, item);
    }
  }
}

const seenReasons = new Set<string>();

function requireGoodRefusal(error: RbeeError): void {
  if (error.status !== 400) throw new Error(`the status is ${error.status}`);
  const answer = JSON.stringify([error.message, error.details, error.suggestion]);
  if (answer.includes(MARKER)) throw new Error(`the value came back: ${answer.slice(0, 500)}`);
  if (answer.length > 20_000) throw new Error(`the answer has ${answer.length} characters`);
  const faults = error.details.errors as { reason?: string }[];
  for (const { reason } of [...faults, error.details as { reason?: string }]) {
    if (reason === undefined) continue;
    if (!Object.hasOwn(REFUSAL_REASONS, reason)) throw new Error(`the reason ${reason} is not a published one`);
    seenReasons.add(reason);
  }
}

function judge(schema: z.ZodType, input: unknown): void {
  try {
    requirePrintable(parseInput(schema, input, 'the request'));
  } catch (error) {
    try {
      if (!isRbeeError(error)) throw error;
      requireGoodRefusal(error);
    } catch (cause) {
      const shown = inspect(input, { depth: 4, maxStringLength: 200, maxArrayLength: 10 });
      throw new Error(`this input was not dealt with: ${shown}`, { cause });
    }
  }
}

describe.each(schemas)('$title', ({ title, schema }) => {
  const good = goodInput(title, schema);

  it('accepts what is good', () => expect(() => parseInput(schema, good, 'the request')).not.toThrow());

  it(`answers ${RUNS} hostile inputs with a value or a refusal, and repeats nothing of them`, () => {
    // The older names as well, and one that nobody knows.
    const places = [...placesIn(good), ['request_id'], ['model_ref'], [MARKER]];
    const aim = fc.record({
      place: fc.nat(places.length - 1),
      value: fc.nat(hostileValues.length - 1),
      append: fc.boolean(),
    });
    const aims = fc.array(aim, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(aims, fc.nat(19), (chosen, kind) => {
        // Now and then the whole input is something else.
        if (kind === 0) return judge(schema, hostileValues[chosen[0]?.value ?? 0]);
        let input: unknown = good;
        for (const { place, value, append } of chosen) {
          const bad = hostileValues[value];
          input = change(input, places[place] ?? [], (old) =>
            append && typeof old === 'string' && typeof bad === 'string' ? old + bad : bad,
          );
        }
        return judge(schema, input);
      }),
      { numRuns: RUNS, seed: SEED, endOnFailure: true },
    );
  });

  it('looks at the largest inputs without losing time', () => {
    const started = performance.now();
    const places = placesIn(good);
    for (const large of LARGE)
      for (const place of places)
        judge(
          schema,
          change(good, place, () => large),
        );
    expect((performance.now() - started) / (places.length * LARGE.length)).toBeLessThan(50);
  });
});

describe('all of them together', () => {
  afterAll(() => expect({}).not.toHaveProperty(MARKER));

  it('are the schemas of three services', () => expect(schemas.length).toBeGreaterThan(40));

  it('give every published reason but those that only a file system knows', () => {
    const elsewhere = ['symlink', 'not_a_file', 'no_permission'];
    expect([...seenReasons, ...elsewhere].sort()).toEqual(Object.keys(REFUSAL_REASONS).sort());
  });
});
