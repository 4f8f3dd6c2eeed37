import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import { ERROR_CATALOGUE, type ErrorCode, RbeeError } from '@rbee/protocol';
import fc from 'fast-check';
import { type Answered, type Asked, ask, inTurns, SERVICES, type Service } from '../support/ask.js';
import { assertHas } from '../support/expect.js';
import { countRows } from '../support/row-counts.js';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

/** Stands in every hostile value, so that an answer that shows a part of one can be told. */
const MARKER = 'zq7x';
const BUNDLED = join(PROJECT, 'models/honeycomb-q4_k_m.gguf');

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details: Record<string, unknown>;
  readonly retryable: boolean;
  readonly correlation_id: string;
}

interface Case {
  readonly to: Service;
  readonly asked: Asked;
  readonly status: number;
  readonly code: string;
  readonly reason?: string | undefined;
}

Given('the bundled model copied to {string} in my home folder', function (this: RbeeWorld, name: string) {
  copyFileSync(BUNDLED, join(this.home, name));
});

Given(
  'a symbolic link {string} in the models folder that leads to {string}',
  function (this: RbeeWorld, name: string, target: string) {
    const link = join(this.home, '.local/share/rbee/models', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(this.fill(target), link);
  },
);

Given('what stands in the databases is noted', function (this: RbeeWorld) {
  this.notes.set('rows', countRows(this.home));
});

When('these requests are made:', async function (this: RbeeWorld, table: DataTable) {
  const cases = table.hashes().map(({ to, method = 'GET', path = '', body, status, code = '', reason }): Case => {
    return {
      to: to as Service,
      asked: { method, path: this.fill(path), ...(body ? { body: this.fill(body) } : {}) },
      status: Number(status),
      code,
      reason,
    };
  });
  const answers: Answered[] = [];
  for (const one of cases) answers.push(await checkCase(this, one));
  this.notes.set('answers', answers);
});

When('these models are named to queen and hive in every way:', async function (this: RbeeWorld, table: DataTable) {
  for (const { model: written = '', code = 'INVALID_MODEL_REF', reason = '' } of table.hashes()) {
    const model = JSON.parse(this.fill(written)) as string;
    assert(model.includes(MARKER), `${written} has no ${MARKER} in it`);
    const query = encodeURIComponent(model);
    const ways: [Service, Asked][] = [
      ['queen', post('/v2/tasks', { prompt: 'hello', model })],
      ['queen', post('/v2/workers/spawn', { model, backend: 'cpu' })],
      ['queen', post('/v2/models/pull', { model, node: 'localhost' })],
      ['queen', { path: `/v2/models/variants?model=${query}` }],
      ['hive', post('/v1/workers/spawn', { model, backend: 'cpu' })],
      ['hive', post('/v1/models/download', { model_ref: model })],
      ['hive', { path: `/v1/models/variants?model_ref=${query}` }],
    ];
    for (const [to, asked] of ways) await checkCase(this, { to, asked, status: 400, code, reason });
  }
});

When('workers are meant by these ids in every way:', async function (this: RbeeWorld, table: DataTable) {
  for (const { id: written = '', reason = '' } of table.hashes()) {
    const worker_id = written.replace('<64 letters>', 'a'.repeat(64));
    assert(worker_id.includes(MARKER), `${written} has no ${MARKER} in it`);
    const path = encodeURIComponent(worker_id);
    const report = { worker_id, url: 'http://127.0.0.1:1', model_ref: 'hf:a/b', backend: 'cpu', device: 0 };
    const ways: [Service, Asked][] = [
      ['queen', post('/v2/workers/shutdown', { worker_id })],
      ['queen', post('/v2/workers/pin', { worker_id, pinned: true })],
      ['queen', { method: 'PATCH', path: `/v2/workers/${path}`, body: '{"state": "idle"}' }],
      ['queen', { method: 'DELETE', path: `/v2/workers/${path}` }],
      ['hive', { path: `/v1/workers/${path}` }],
      ['hive', { path: `/v1/workers/${path}/events` }],
      ['hive', post(`/v1/workers/${path}/shutdown`, {})],
      ['hive', { method: 'DELETE', path: `/v1/workers/${path}` }],
      ['hive', post('/v1/workers/ready', report)],
    ];
    for (const [to, asked] of ways) {
      await checkCase(this, { to, asked, status: 400, code: 'INVALID_WORKER_ID', reason });
    }
  }
});

When('bodies of {int} MB are sent to queen, hive and worker', async function (this: RbeeWorld, megabytes: number) {
  const body = JSON.stringify({
    prompt: 'x'.repeat(megabytes * 1_000_000),
    model: 'builtin:honeycomb',
    backend: 'cpu',
  });
  const paths = { queen: '/v2/tasks', hive: '/v1/workers/spawn', worker: '/v1/inference' };
  const answers = [];
  for (const to of SERVICES) {
    const asked = { method: 'POST', path: paths[to], body };
    answers.push(await checkCase(this, { to, asked, status: 413, code: 'PAYLOAD_TOO_LARGE' }));
  }
  this.notes.set('answers', answers);
});

When(
  'one client sends the {word} {int} bad requests at once',
  async function (this: RbeeWorld, to: Service, count: number) {
    const from = '127.0.0.77';
    const bad = { ...post('/v2/tasks', { prompt: '' }), from };
    const answers = await Promise.all(Array.from({ length: count }, () => ask(this, to, bad)));
    // Meanwhile: the client's good requests, and the bad ones of somebody else, are answered as ever.
    const [good, other] = await Promise.all([
      ask(this, to, { path: '/v2/tasks', from }),
      ask(this, to, { ...bad, from: '127.0.0.78' }),
    ]);
    assert.equal(good.status, 200, good.text);
    assert.equal(other.status, 400, other.text);
    this.notes.set('answers', answers);
  },
);

Then(
  '{int} of them are answered {int} and the others {int} with the code {word} and when to come back',
  function (this: RbeeWorld, count: number, first: number, then: number, code: string) {
    const answers = this.notes.get('answers') as Answered[];
    const statuses = answers.map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === first).length, count, statuses.join(' '));
    const refused = answers.filter(({ status }) => status !== first);
    for (const answer of refused) {
      assert.equal(answer.status, then);
      assert.match(String(answer.headers['retry-after']), /^[1-9]\d*$/);
      assert.equal(failureIn(answer).code, code);
    }
  },
);

When(
  '{int} random inputs come to queen, hive and worker',
  { timeout: 120_000 },
  async function (this: RbeeWorld, count: number) {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const inputs = fc.sample(randomInput, { numRuns: count, seed });
    const statuses = new Map<number, number>();
    await inTurns(inputs, 20, async ({ to, asked, isGood }) => {
      const answer = await ask(this, to, asked);
      const what = `seed ${seed}: ${to} ${asked.method ?? 'GET'} ${asked.path} ${String(asked.body).slice(0, 500)}: ${answer.status} ${answer.text.slice(0, 500)}`;
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      if (isGood) {
        assert([200, 404].includes(answer.status), what);
        return;
      }
      assert.equal(answer.status, 400, what);
      assertFailure(answer, what);
    });
    const good = inputs.filter(({ isGood }) => isGood).length;
    assert(good > count / 10 && good < count / 2, `${good} of ${count} inputs were good ones`);
    for (const service of SERVICES) assert.equal((await ask(this, service, { path: '/health' })).status, 200);
  },
);

When(
  '{int} tasks come at once, every second of them with a bad model',
  { timeout: 60_000 },
  async function (this: RbeeWorld, count: number) {
    const tasks = Array.from({ length: count }, (_, index) => {
      const model = index % 2 === 0 ? 'builtin:honeycomb' : `hf:${MARKER}`;
      return post('/v2/tasks', { prompt: `hello ${index}`, model, max_tokens: 1, stream: false });
    });
    const answers = await Promise.all(tasks.map((task) => ask(this, 'queen', task)));
    for (const [index, answer] of answers.entries()) {
      if (index % 2 === 1) {
        assert.equal(answer.status, 400, answer.text);
        assert.equal(assertFailure(answer, 'a bad task').code, 'INVALID_MODEL_REF');
      } else {
        assert.equal(answer.status, 200, answer.text);
        assertHas(JSON.parse(answer.text), { tokens_out: 1 }, 'answer');
      }
    }
  },
);

Then("the details of each answer's error have:", function (this: RbeeWorld, expected: string) {
  for (const answer of this.notes.get('answers') as Answered[]) {
    assertHas(failureIn(answer).details, JSON.parse(expected), 'details');
  }
});

Then("the message of the answer's error shows {string}", function (this: RbeeWorld, text: string) {
  const { body } = this.notes.get('answer') as { body: { error: Failure } };
  assert(body.error.message.includes(text), body.error.message);
});

Then('each of these errors has an id of its own, which the log of its service knows', async function (this: RbeeWorld) {
  const failed = (this.notes.get('answers') as Answered[]).filter(({ status }) => status >= 400);
  const ids = failed.map((answer) => failureIn(answer).correlation_id);
  assert.equal(new Set(ids).size, ids.length, ids.join(', '));
  for (const id of ids) {
    await waitUntil(
      () => logLines(this).some((line) => line.includes(id)),
      () => `${id} is in no log`,
      5_000,
    );
  }
});

Then('each line of the logs of queen and hive is a whole entry', function (this: RbeeWorld) {
  const lines = logLines(this);
  assert(lines.length > 0, 'there are no logs');
  for (const line of lines) {
    const entry = JSON.parse(line) as Record<string, unknown>;
    for (const field of ['time', 'level', 'service', 'msg']) assert.equal(typeof entry[field], 'string', line);
    // Control characters that a terminal obeys are written as escapes.
    assert.match(line, /^\P{Cc}*$/u, line);
  }
});

Then('the databases hold what they held', function (this: RbeeWorld) {
  assert.deepEqual(countRows(this.home), this.notes.get('rows'));
});

Then('none of these answers shows a stack or a folder of this machine', function (this: RbeeWorld) {
  for (const { text } of this.notes.get('answers') as Answered[]) {
    for (const place of [this.home, PROJECT, hostname()]) assert(!text.includes(place), text);
    assert.doesNotMatch(text, /\\n\s+at |node:internal|\.js:\d+/, text);
  }
});

Then('the hive logs the failure of the answer with all its parts', async function (this: RbeeWorld) {
  const { body } = this.notes.get('answer') as { body: { error: Failure } };
  const { code, correlation_id } = body.error;
  const isIt = (line: Record<string, unknown>) =>
    line.correlation_id === correlation_id && line.level === 'error' && line.error_code === code;
  let entry: Record<string, unknown> | undefined;
  await waitUntil(
    () => {
      entry = logLines(this)
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .find(isIt);
      return entry !== undefined;
    },
    () => `no log has an error with the id ${correlation_id}`,
    5_000,
  );
  assertHas(entry, { level: 'error', error_code: code, service: 'rbee-hive', correlation_id }, 'entry');
  assert(!Number.isNaN(Date.parse(String(entry?.time))), String(entry?.time));
  assert.match(String((entry?.error as { stack?: unknown } | undefined)?.stack), /\n {4}at /);
});

function post(path: string, body: object): Asked {
  return { method: 'POST', path, body: JSON.stringify(body) };
}

async function checkCase(world: RbeeWorld, { to, asked, status, code, reason }: Case): Promise<Answered> {
  const answer = await ask(world, to, asked);
  const what = `${to} ${asked.method ?? 'GET'} ${asked.path} ${asked.body?.toString().slice(0, 200) ?? ''}: ${answer.text.slice(0, 2_000)}`;
  assert.equal(answer.status, status, what);
  if (status < 400) return answer;
  const failure = assertFailure(answer, what);
  assert.equal(failure.code, code, what);
  if (reason) assert.equal(failure.details.reason, reason, what);
  return answer;
}

/** Every failure is the envelope, with a code whose status it has, and shows nothing of what was sent. */
function assertFailure(answer: Answered, what: string): Failure {
  assert.match(String(answer.headers['content-type']), /^application\/json/, what);
  const failure = failureIn(answer);
  const { code, message, details, retryable, correlation_id } = failure;
  assert.match(code, /^[A-Z][A-Z_]*$/, what);
  assert.equal(ERROR_CATALOGUE[code as ErrorCode]?.status, answer.status, what);
  assert(message, what);
  assert(typeof details === 'object' && details !== null, what);
  assert.equal(retryable, new RbeeError(code as ErrorCode, '').retryable, what);
  assert.equal(correlation_id, answer.headers['x-correlation-id'], what);
  assert(!answer.text.toLowerCase().includes(MARKER), what);
  return failure;
}

function failureIn({ text }: Answered): Failure {
  return (JSON.parse(text) as { error: Failure }).error;
}

function logLines(world: RbeeWorld): string[] {
  return ['queen-rbee.log', 'rbee-hive.log'].flatMap((name) => {
    const file = join(world.home, '.rbee/logs', name);
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  });
}

interface RandomInput {
  readonly to: Service;
  readonly asked: Asked;
  readonly isGood: boolean;
}

const hostileText = fc
  .oneof(
    fc.constantFrom(
      '\0',
      '\u001b[31m',
      '\n{"level":"info"}',
      '\u202e',
      '../../etc',
      '; touch pwned',
      '`id`',
      "'; DROP TABLE x;--",
    ),
    fc.constantFrom(
      '<script>',
      '%{jndi:ldap://x}',
      '%00',
      '\ud800',
      '😀',
      'x'.repeat(5_000),
      '__proto__',
      '@',
      '|',
      '$(id)',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).map((text) => `\u0001${text}`),
  )
  .map((text) => `${MARKER}${text}`);
const hostileValue = fc.oneof(hostileText, fc.constantFrom(-1, 1e308, [], {}, true, [[MARKER]]), fc.double());
const badModel = fc.oneof(hostileText, fc.constantFrom('', 'hf:', 'hf:a', 17, [], { a: 1 }));

const badTask = fc.oneof(
  badModel.map((model) => ({ prompt: 'hello', model })),
  hostileText.map((node) => ({ prompt: 'hello', node })),
  hostileText.map((backend) => ({ prompt: 'hello', backend })),
  fc.constantFrom(
    {},
    { prompt: '' },
    { prompt: 17 },
    { prompt: `${MARKER}\0` },
    { messages: [] },
    { prompt: 'a', messages: [MARKER] },
  ),
  fc.constantFrom(-1, 3, MARKER, {}, []).map((temperature) => ({ prompt: 'hello', temperature })),
  fc.constantFrom(0, -1, 1.5, MARKER, []).map((max_tokens) => ({ prompt: 'hello', max_tokens })),
  fc.dictionary(fc.string(), hostileValue, { maxKeys: 4 }).map((fields) => ({ ...fields, prompt: [MARKER] })),
);
const badSpawn = fc.oneof(
  badModel.map((model) => ({ model, backend: 'cpu' })),
  hostileText.map((backend) => ({ model: 'builtin:honeycomb', backend })),
  fc.constantFrom(-1, 1.5, MARKER, []).map((device) => ({ model: 'builtin:honeycomb', backend: 'cpu', device })),
  fc
    .constantFrom(0, -1, 1e9, MARKER)
    .map((slots_total) => ({ model: 'builtin:honeycomb', backend: 'cpu', slots_total })),
);
const badJson = fc.constantFrom(
  '{',
  '',
  'null',
  '17',
  '[]',
  '"text"',
  `{"prompt": ${MARKER}}`,
  '{"prompt":"\\ud8',
  `${'['.repeat(20_000)}`,
);

const bad = (to: Service, path: string, bodies: fc.Arbitrary<object>): fc.Arbitrary<RandomInput> =>
  fc
    .oneof({ weight: 5, arbitrary: bodies.map((body) => JSON.stringify(body)) }, { weight: 1, arbitrary: badJson })
    .map((body) => ({ to, asked: { method: 'POST', path, body }, isGood: false }));
const badId = (to: Service, method: string, before: string, after = ''): fc.Arbitrary<RandomInput> =>
  hostileText.map((id) => {
    const path = `${before}${encodeURIComponent(id.replace(/\p{Surrogate}/gu, '\ufffd'))}${after}`;
    return { to, asked: { method, path }, isGood: false };
  });
/** Inputs that are as they should be; what they name is mostly not there. */
const good: fc.Arbitrary<RandomInput> = fc.oneof(
  fc.constant<RandomInput>({ to: 'queen', asked: { path: '/v2/tasks' }, isGood: true }),
  fc.uuid().map((id): RandomInput => ({ to: 'queen', asked: { path: `/v2/tasks/${id}` }, isGood: true })),
  fc.uuid().map((id): RandomInput => ({ to: 'hive', asked: { path: `/v1/workers/${id}` }, isGood: true })),
  fc
    .stringMatching(/^[a-z0-9]{1,12}$/)
    .map((node): RandomInput => ({ to: 'queen', asked: post('/v2/tasks', { prompt: 'hello', node }), isGood: true })),
  fc.constant<RandomInput>({ to: 'worker', asked: { path: '/v1/ready' }, isGood: true }),
);
const randomInput = fc.oneof(
  good,
  bad('queen', '/v2/tasks', badTask),
  bad('hive', '/v1/workers/spawn', badSpawn),
  bad(
    'worker',
    '/v1/inference',
    badTask.map(({ ...fields }) => ({ ...fields, prompt: undefined })),
  ),
  badId('hive', 'GET', '/v1/workers/'),
  badId('hive', 'POST', '/v1/workers/', '/shutdown'),
  badId('queen', 'DELETE', '/v2/workers/'),
);
