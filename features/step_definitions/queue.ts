import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import { OpenStream } from '../support/event-stream.js';
import { assertHas } from '../support/expect.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Given('the queue takes {int} tasks', function (this: RbeeWorld, count: number) {
  this.variables.RBEE_QUEUE_LENGTH = String(count);
});

/** One after the other: each stands in the queue, or has started, before the next one comes. */
When('these clients post tasks:', async function (this: RbeeWorld, table: DataTable) {
  for (const { client = '', task = '', priority = 'interactive' } of table.hashes()) {
    const { response, opened } = await post(this, client, { job_id: task, prompt: 'Hello', priority });
    assert(opened, `${task} was refused with ${response.status}`);
    tasks(this).set(task, opened);
    await opened.waitFor(({ type }) => type === 'queued' || type === 'started', `the place of ${task}`);
  }
});

When('{int} clients post a task each at once', async function (this: RbeeWorld, count: number) {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const posted = await Promise.all(
    numbers.map((number) => post(this, `127.0.1.${number}`, { job_id: `task-${number}`, prompt: 'Hello' })),
  );
  for (const [index, { response, opened }] of posted.entries()) {
    assert(opened, `a task was refused with ${response.status}`);
    tasks(this).set(`task-${index + 1}`, opened);
  }
});

When(
  'the client {word} posts the task {word} that is refused',
  async function (this: RbeeWorld, client: string, task: string) {
    const { response } = await post(this, client, { job_id: task, prompt: 'Hello' });
    this.notes.set('refusal', { status: response.status, headers: response.headers, body: await response.json() });
  },
);

When('two others ask the worker for a job at the same moment', async function (this: RbeeWorld) {
  const ask = async () => {
    const response = await fetch(`${this.notes.get('worker url')}/v1/inference`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${this.notes.get('worker key')}`, Accept: 'text/event-stream' },
      body: JSON.stringify({ job_id: `other-${randomUUID()}`, prompt: 'Hello' }),
    });
    if (response.status === 200) {
      const opened = OpenStream.read(response);
      this.onClose(async () => opened.close());
      tasks(this).set('the accepted one', opened);
    }
    return { status: response.status, body: response.status === 200 ? undefined : await response.json() };
  };
  this.notes.set('asked', await Promise.all([ask(), ask()]));
});

When('all jobs that stand still go on', async function (this: RbeeWorld) {
  for (const [name, opened] of tasks(this)) {
    await opened.waitFor(({ type, i }) => type === 'token' && i === 2, `the third token of ${name}`);
  }
  wakeWorkers(this);
});

When('the client gives up the task {word}', async function (this: RbeeWorld, task: string) {
  const response = await fetch(`${this.queenUrl}/v2/tasks/${task}`, { method: 'DELETE' });
  assert.equal(response.status, 204);
});

Then(
  'one of the two is accepted, the other answered 503 with all {int} slots busy',
  function (this: RbeeWorld, slots: number) {
    const asked = this.notes.get('asked') as { status: number; body: { error: object } | undefined }[];
    assert.deepEqual(asked.map(({ status }) => status).sort(), [200, 503]);
    const refused = asked.find(({ status }) => status === 503);
    const details = { slots_total: slots, slots_busy: slots };
    assertHas(refused?.body?.error, { code: 'ALL_SLOTS_BUSY', details }, 'error');
  },
);

Then('the worker has {int} of {int} slots free', async function (this: RbeeWorld, free: number, total: number) {
  const url = `${this.notes.get('worker url')}/v1/ready`;
  const look = async () => {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${this.notes.get('worker key')}` } });
    const { slots_available, slots_total } = (await response.json()) as {
      slots_available: number;
      slots_total: number;
    };
    return slots_available === free && slots_total === total;
  };
  await waitUntil(look, () => `the worker never had ${free} of ${total} slots free`);
});

/** Lets the job that runs go on whenever it stands still, and looks whose it is. */
Then('the tasks are served in the order {word}', async function (this: RbeeWorld, list: string) {
  for (const task of list.split(',')) {
    const opened = open(this, task);
    await opened.waitFor(({ type, i }) => type === 'token' && i === 2, `the third token of ${task}`);
    const begun = [...tasks(this)].filter(([, { events }]) => events.some(({ type }) => type === 'started'));
    const running = begun.filter(([, { events }]) => !events.some(({ type }) => type === 'end')).map(([name]) => name);
    assert.deepEqual(running, [task]);
    wakeWorkers(this);
    await opened.closed;
    assert.equal(opened.terminal.type, 'end', JSON.stringify(opened.terminal));
  }
});

Then('all tasks end with {string}', async function (this: RbeeWorld, type: string) {
  for (const [name, opened] of tasks(this)) {
    await opened.closed;
    assert.equal(opened.terminal.type, type, `${name}: ${JSON.stringify(opened.terminal)}`);
    assert.equal(opened.messages.at(-1)?.data, '[DONE]');
  }
});

Then('no task was sent to a worker that was busy', function (this: RbeeWorld) {
  for (const [name, opened] of tasks(this)) assert.deepEqual(opened.narration('retry'), [], name);
});

Then(
  'each of the {int} workers served at least {int} of the tasks',
  function (this: RbeeWorld, count: number, least: number) {
    const served = new Map<string, number>();
    for (const opened of tasks(this).values()) {
      const [assigned, ...others] = opened.all('worker');
      assert.deepEqual(others, []);
      const id = String(assigned?.worker_id);
      served.set(id, (served.get(id) ?? 0) + 1);
    }
    assert.equal(served.size, count, JSON.stringify([...served]));
    for (const [id, jobs] of served) assert(jobs >= least, `${id} served ${jobs}`);
  },
);

Then('the client of {word} was told the places {word}', async function (this: RbeeWorld, task: string, places: string) {
  const opened = open(this, task);
  const told = () => opened.all('queued').map(({ position }) => position);
  await waitUntil(
    () => told().length >= places.split(',').length,
    () => `${task} was told the places ${told().join()}`,
  );
  assert.equal(told().join(), places);
});

Then(
  'the refusal is {int} {word} that names the {word} as full',
  function (this: RbeeWorld, status: number, code: string, bound: string) {
    const refusal = this.notes.get('refusal') as {
      status: number;
      headers: Headers;
      body: { error: Record<string, unknown> };
    };
    assert.equal(refusal.status, status);
    assert.equal(refusal.body.error.code, code);
    assert.equal(refusal.body.error.aliases, undefined);
    const details = refusal.body.error.details as Record<string, unknown>;
    assert.equal(details.bound, bound, JSON.stringify(details));
    const seconds = refusal.headers.get('retry-after');
    assert.equal(seconds, String(details.retry_after_seconds));
    assert(Number(seconds) >= 1, `Retry-After: ${seconds}`);
  },
);

Then('the refusal names the wait and the time that is left', function (this: RbeeWorld) {
  const { body } = this.notes.get('answer') as {
    body: { error: { message: string; details: Record<string, number> } };
  };
  const { message, details } = body.error;
  assert.match(message, /would start in about [\d.]+ m?s \(place \d in the queue\), but its deadline is in \d+ ms/);
  const { eta_ms = 0, remaining_ms = 0 } = details;
  assert(eta_ms > remaining_ms && remaining_ms > 0, JSON.stringify(details));
});

Then(
  'the queen lists the task {word} as queued at place {int}',
  async function (this: RbeeWorld, task: string, place: number) {
    const response = await fetch(`${this.queenUrl}/v2/tasks/${task}`);
    const { state, position } = (await response.json()) as { state: string; position: number };
    assert.deepEqual([state, position], ['queued', place]);
  },
);

interface Posted {
  readonly response: Response;
  /** The answer as it comes, unless the task was refused. */
  readonly opened: OpenStream | undefined;
}

/** Posts a task from an address of its own; every address of 127.0.0.0/8 is this machine. */
function post(world: RbeeWorld, client: string, task: object): Promise<Posted> {
  const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  const options = { host: '127.0.0.1', port: world.ports.queen, path: '/v2/tasks', method: 'POST', headers };
  return new Promise((resolve, reject) => {
    const call = request({ ...options, localAddress: client }, (answer) => {
      const given = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as [string, string]);
      const body = Readable.toWeb(answer) as ReadableStream<Uint8Array>;
      const response = new Response(body, { status: answer.statusCode ?? 0, headers: given });
      // A refusal is no stream: whoever expects one reads it.
      const opened = answer.statusCode === 200 ? OpenStream.read(response) : undefined;
      world.onClose(async () => {
        opened?.close();
        call.destroy();
      });
      resolve({ response, opened });
    });
    call.once('error', reject);
    call.end(JSON.stringify(task));
  });
}

function tasks(world: RbeeWorld): Map<string, OpenStream> {
  const known = world.notes.get('queued tasks') as Map<string, OpenStream> | undefined;
  if (known) return known;
  const none = new Map<string, OpenStream>();
  world.notes.set('queued tasks', none);
  return none;
}

function open(world: RbeeWorld, task: string): OpenStream {
  const opened = tasks(world).get(task);
  assert(opened, `no task ${task} was posted`);
  return opened;
}

function wakeWorkers(world: RbeeWorld): void {
  const workers = world.findProcesses().filter(({ command }) => command.includes('--worker-id'));
  assert(workers.length > 0, 'no worker runs');
  for (const { pid } of workers) process.kill(pid, 'SIGUSR2');
}
