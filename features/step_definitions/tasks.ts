import assert from 'node:assert/strict';
import { type DataTable, Then, When } from '@cucumber/cucumber';
import { ERROR_CATALOGUE, type ErrorCode, RbeeError } from '@rbee/protocol';
import { assertGreedyAnswer, FLOAT_NOISE, generateWithEngineAlone, measureGap } from '../support/engine-alone.js';
import { OpenStream } from '../support/event-stream.js';
import { assertHas } from '../support/expect.js';
import type { RbeeWorld } from '../support/world.js';

interface Answer {
  readonly status: number;
  readonly correlationId: string | null;
  readonly body: { error?: { code: string; message: string; details: Record<string, unknown> } };
}

When('I post this task:', async function (this: RbeeWorld, task: string) {
  await postTask(this, this.fill(task));
  await stream(this).closed;
});

When('I post this task in the background:', async function (this: RbeeWorld, task: string) {
  await postTask(this, this.fill(task));
});

When('I post this task for JSON:', async function (this: RbeeWorld, task: string) {
  const response = await fetch(`${this.queenUrl}/v2/tasks`, { method: 'POST', body: this.fill(task) });
  const body = response.headers.get('content-type')?.includes('json') ? await response.json() : await response.text();
  const correlationId = response.headers.get('x-correlation-id');
  this.notes.set('answer', { status: response.status, correlationId, body });
});

When('I cancel the task {string}', async function (this: RbeeWorld, id: string) {
  const response = await fetch(`${this.queenUrl}/v2/tasks/${id}`, { method: 'DELETE' });
  assert.equal(response.status, 204);
  assert.equal(await response.text(), '');
});

Then('the answer is {int} with the code {word}', function (this: RbeeWorld, status: number, code: string) {
  const { correlationId, ...answer } = this.notes.get('answer') as Answer;
  assert.deepEqual([answer.status, answer.body.error?.code], [status, code], JSON.stringify(answer.body));
  const { error } = answer.body;
  assert(error?.message);
  assert.equal(typeof error.details, 'object');
  assert(correlationId);
  assertHas(error, { correlation_id: correlationId, retryable: isRetryable(code) }, 'error');
});

Then("the answer's details have:", function (this: RbeeWorld, expected: string) {
  assertHas((this.notes.get('answer') as Answer).body.error?.details, JSON.parse(expected), 'details');
});

Then('the answer is {int} with the content type {string}', function (this: RbeeWorld, status: number, type: string) {
  assert.equal(stream(this).response.status, status);
  assert(stream(this).response.headers.get('content-type')?.startsWith(type));
});

Then('the stream ends with {string}', function (this: RbeeWorld, type: string) {
  assertEnds(stream(this), type);
});

Then('the open stream ends with {string}', async function (this: RbeeWorld, type: string) {
  await stream(this).closed;
  assertEnds(stream(this), type);
});

Then('the stream tells in order: {word}', function (this: RbeeWorld, list: string) {
  const types = list.split(',');
  const told = stream(this)
    .events.map(({ type }) => type)
    .filter((type, index, all) => types.includes(type) && all.indexOf(type) === index);
  assert.deepEqual(told, types);
  assert.equal(stream(this).events[0]?.type, types[0]);
});

Then('the end of the stream counts its tokens and its time', function (this: RbeeWorld) {
  const { tokens_out, decode_time_ms } = stream(this).terminal;
  assert.equal(tokens_out, stream(this).ids.length);
  assert(Number(decode_time_ms) > 0, `decode_time_ms: ${decode_time_ms}`);
});

Then('the stream took at least {int} ms', function (this: RbeeWorld, ms: number) {
  const { times } = stream(this);
  const took = (times.at(-1) ?? 0) - (times[0] ?? 0);
  assert(took >= ms, `it took ${took} ms`);
});

Then('the end of the stream has:', function (this: RbeeWorld, expected: string) {
  assertHas(stream(this).terminal, JSON.parse(expected), 'end');
});

Then("the stream's last frame is [DONE]", function (this: RbeeWorld) {
  assert.equal(stream(this).messages.at(-1)?.data, '[DONE]');
});

Then('the tokens of the stream are numbered from 0 without a gap', function (this: RbeeWorld) {
  const tokens = stream(this).all('token');
  assert(tokens.length > 0);
  assert.deepEqual(
    tokens.map((event) => event.i),
    tokens.map((_event, index) => index),
  );
});

Then('the tokens of the stream did not come all at once', function (this: RbeeWorld) {
  const { messages, times } = stream(this);
  const arrivals = new Set(times.filter((_time, index) => messages[index]?.event === 'token'));
  assert(arrivals.size > 10, `${arrivals.size} arrivals`);
});

Then('the text of the stream is {string}', function (this: RbeeWorld, text: string) {
  assert.equal(stream(this).text, text);
});

Then('the text of the stream starts with {string}', function (this: RbeeWorld, text: string) {
  assert(stream(this).text.startsWith(text), stream(this).text);
});

Then('the text of the stream is the greedy story', function (this: RbeeWorld) {
  assert.equal(stream(this).text, generateWithEngineAlone('write a short story').text);
});

Then('the text of the stream is the greedy story, up to float noise', function (this: RbeeWorld) {
  assertGreedyAnswer('write a short story', stream(this).text);
});

Then('the stream narrates {string} before {string}', function (this: RbeeWorld, one: string, other: string) {
  const { actions } = stream(this);
  const positions = [actions.indexOf(one), actions.indexOf(other)] as const;
  assert(positions[0] >= 0 && positions[0] < positions[1], `narrated: ${actions.join(', ')}`);
});

Then('the stream does not narrate {string}', function (this: RbeeWorld, action: string) {
  assert(!stream(this).actions.includes(action), `narrated: ${stream(this).actions.join(', ')}`);
});

Then('the open stream narrates {string}', async function (this: RbeeWorld, action: string) {
  await stream(this).waitFor((event) => event.action === action, `narration ${action}`);
});

When('the open stream has come to a token', async function (this: RbeeWorld) {
  await stream(this).waitFor((event) => event.type === 'token', 'a token');
});

Then('the narration {string} mentions {string}', function (this: RbeeWorld, action: string, text: string) {
  const said = stream(this).narration(action);
  assert(
    said.some((event) => String(event.human).includes(text)),
    JSON.stringify(said),
  );
});

Then(
  'the stream narrates {string} with waits of {string} ms',
  function (this: RbeeWorld, action: string, list: string) {
    const waits = list.split(', ');
    const said = stream(this)
      .narration(action)
      .map((event) => String(event.human));
    assert.equal(said.length, waits.length, said.join('\n'));
    for (const [index, wait] of waits.entries()) assert.match(said[index] ?? '', new RegExp(`\\b${wait} ms`));
  },
);

Then('the stream assigns the noted worker as reused', function (this: RbeeWorld) {
  assertHas(
    stream(this).all('worker')[0],
    { worker_id: this.notes.get('worker'), reused: true, node: 'localhost' },
    'worker',
  );
});

Then('the stream has no progress of a download', function (this: RbeeWorld) {
  assert(!stream(this).events.some((event) => event.type === 'progress' && event.phase === 'download'));
});

Then('the open stream shows the progress of loading', async function (this: RbeeWorld) {
  await stream(this).waitFor((event) => event.type === 'progress' && event.phase === 'load', 'progress of loading');
});

Then(
  /^the error of the stream is (\d+) (\w+) with:$/,
  function (this: RbeeWorld, status: string, code: string, details: string) {
    assertHas(
      stream(this).terminal,
      { type: 'error', status: Number(status), code, details: JSON.parse(details) },
      'error',
    );
  },
);

Then('the suggestion of the error shows {string}', function (this: RbeeWorld, pattern: string) {
  assert.match(String((stream(this).terminal.details as Record<string, unknown>).suggestion), new RegExp(pattern));
});

Then(
  'these prompts at once give what each gives alone, up to float noise:',
  async function (this: RbeeWorld, table: DataTable) {
    const prompts = table.raw().map(([prompt]) => prompt ?? '');
    const run = async (prompt: string) => {
      const task = { prompt, temperature: 0, cache_prompt: false };
      const opened = await OpenStream.open(`${this.queenUrl}/v2/tasks`, taskRequest(JSON.stringify(task)));
      await opened.closed;
      assertEnds(opened, 'end');
      return opened.ids;
    };
    const together = await Promise.all(prompts.map(run));
    for (const [index, prompt] of prompts.entries()) assertSameAnswer(prompt, together[index] ?? [], await run(prompt));
  },
);

async function postTask(world: RbeeWorld, task: string): Promise<void> {
  world.notes.set('stream', await OpenStream.open(`${world.queenUrl}/v2/tasks`, taskRequest(task)));
}

function taskRequest(body: string): RequestInit {
  return { method: 'POST', headers: { Accept: 'text/event-stream', 'Content-Type': 'application/json' }, body };
}

function stream(world: RbeeWorld): OpenStream {
  const opened = world.notes.get('stream');
  assert(opened, 'the scenario has posted no task');
  return opened as OpenStream;
}

function assertEnds(opened: OpenStream, type: string): void {
  assert.equal(opened.terminal.type, type, JSON.stringify(opened.terminal));
  assert.equal(opened.events.at(-1), opened.terminal, 'nothing may follow the terminal event');
  assert.deepEqual(
    opened.messages.filter(({ data }) => data === '[DONE]'),
    opened.messages.slice(-1),
    'one [DONE] ends the stream',
  );
  const correlation_id = opened.events[0]?.correlation_id;
  for (const event of opened.all('narration')) {
    const said = JSON.stringify(event);
    assert(String(event.human).length <= 100, `longer than 100 characters: ${said}`);
    assert.match(`${event.actor} ${event.action}`, /^[a-z-]+ [a-z_]+$/, said);
    assert.equal(event.correlation_id, correlation_id, `the correlation id of another task: ${said}`);
  }
}

function isRetryable(code: string): boolean {
  return ERROR_CATALOGUE[code as ErrorCode] !== undefined && new RbeeError(code as ErrorCode, '').retryable;
}

/** Two greedy answers must be the same, or part where the engine itself is undecided. */
function assertSameAnswer(prompt: string, one: readonly number[], other: readonly number[]): void {
  const at = other.findIndex((id, index) => id !== one[index]);
  if (at < 0 && one.length === other.length) return;
  const common = other.slice(0, at < 0 ? other.length : at);
  const gap = measureGap(prompt, common);
  assert(gap < FLOAT_NOISE, `the answers to "${prompt}" part after ${common.length} tokens, where the gap is ${gap}`);
}
