import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import type { GgufFacts, Model, SpawnAnswer, Worker } from '@rbee/protocol';
import { OpenStream } from '../support/event-stream.js';
import { assertHas, has } from '../support/expect.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Given('an idle worker for {string} with {int} slot(s)', async function (this: RbeeWorld, model: string, slots: number) {
  const answer = await spawn(this, { model: this.fill(model), backend: 'cpu', slots_total: slots });
  await waitForWorkers(this, (workers) =>
    workers.some((worker) => worker.id === answer.worker_id && worker.state === 'idle'),
  );
  this.notes.set('worker', answer.worker_id).set('worker url', answer.url).set('worker key', answer.api_key);
  await noteWorkers(this);
});

Given('the workers of the hive are noted', noteWorkersStep);

Given('the only slot is taken by somebody else', async function (this: RbeeWorld) {
  const opened = await OpenStream.open(`${this.notes.get('worker url')}/v1/inference`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${this.notes.get('worker key')}` },
    body: JSON.stringify({ prompt: 'I was here first' }),
  });
  this.onClose(async () => opened.close());
  await opened.waitFor((event) => event.type === 'token', 'a token of the job that takes the slot');
});

Given("I watch the hive's events", async function (this: RbeeWorld) {
  const opened = await OpenStream.open(`${this.hiveUrl}/v1/events`, { headers: this.hiveHeaders });
  await opened.waitFor((event) => event.type === 'snapshot', 'the snapshot');
  this.notes.set('hive events', opened);
  this.onClose(async () => opened.close());
});

Given('a hive that only records callbacks', async function (this: RbeeWorld) {
  const bodies: unknown[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      if (request.url === '/v1/workers/ready') bodies.push(JSON.parse(text));
      response.setHeader('Content-Type', 'application/json').end('{"message":"noted"}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  this.onClose(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  this.notes.set('callbacks', bodies).set('recorder', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

When('I ask the hive for a worker:', async function (this: RbeeWorld, body: string) {
  await spawn(this, JSON.parse(body) as object);
});

When(/^I post to the hive's (.+):$/, async function (this: RbeeWorld, path: string, body: string) {
  const response = await this.askHive(this.fill(path), { method: 'POST', body: this.fill(body) });
  this.notes.set('answer', { status: response.status, body: await response.json() });
});

Then('the answer is {int}', function (this: RbeeWorld, status: number) {
  const answer = this.notes.get('answer') as { status: number; body: unknown };
  assert.equal(answer.status, status, JSON.stringify(answer.body));
});

Then(/^GET (\S+) of the hive answers exactly (.+)$/, async function (this: RbeeWorld, path: string, body: string) {
  assert.equal(await (await this.askHive(path)).text(), body);
});

Then(/^GET (.+) of the hive answers at least:$/, async function (this: RbeeWorld, path: string, expected: string) {
  const response = await this.askHive(this.fill(path));
  assert.equal(response.status, 200);
  assertHas(await response.json(), JSON.parse(expected), path);
});

Then('the hive lists {int} worker(s) with:', async function (this: RbeeWorld, count: number, expected: string) {
  const fields = JSON.parse(this.fill(expected)) as Record<string, unknown>;
  await waitForWorkers(this, (workers) => workers.length === count && workers.some((worker) => has(worker, fields)));
});

Then('the hive lists no worker', async function (this: RbeeWorld) {
  await waitForWorkers(this, (workers) => workers.length === 0);
});

Then('the workers of the hive are the noted ones', async function (this: RbeeWorld) {
  const ids = (await listWorkers(this)).map(({ id }) => id).sort();
  assert.deepEqual(ids, this.notes.get('worker ids'));
});

Then('the noted worker was idle, busy, idle', async function (this: RbeeWorld) {
  const events = this.notes.get('hive events') as OpenStream;
  const states = () => {
    const seen = events.events
      .filter((event) => event.type === 'worker' && (event.worker as Worker).id === this.notes.get('worker'))
      .map((event) => (event.worker as Worker).state);
    return ['idle', ...seen].filter((state, index, all) => state !== all[index - 1]);
  };
  await waitUntil(
    () => states().join() === 'idle,busy,idle',
    () => `the states were ${states().join(', ')}`,
  );
});

Then(
  'the spawn answer has state {string}, an id, a URL on the first worker port and a key',
  function (this: RbeeWorld, state: string) {
    const answer = spawnAnswer(this);
    assert.equal(answer.state, state);
    assert.match(answer.worker_id, /^worker-[0-9a-f-]{36}$/);
    assert.equal(new URL(answer.url ?? '').port, String(this.ports.workers));
    assert.match(answer.api_key ?? '', /^\S{32,}$/);
  },
);

Then(
  "the worker's command line names model, backend, device, port and key file, and not the key",
  async function (this: RbeeWorld) {
    const args = readFileSync(`/proc/${await workerPid(this)}/cmdline`, 'utf8').split('\0');
    const argument = (flag: string) => args[args.indexOf(flag) + 1] ?? '';
    assert.match(argument('--model'), /honeycomb-q4_k_m\.gguf$/);
    assert.deepEqual(['--backend', '--device', '--port'].map(argument), ['cpu', '0', String(this.ports.workers)]);
    assert(!args.join(' ').includes(spawnAnswer(this).api_key ?? ''), 'the key is in the process list');
    this.notes.set('key file', argument('--api-key-file'));
  },
);

Then("the worker's key file can be read by its owner only", function (this: RbeeWorld) {
  const path = this.notes.get('key file') as string;
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(path, 'utf8').trim(), spawnAnswer(this).api_key);
});

Then('the worker runs with UV_THREADPOOL_SIZE=1', async function (this: RbeeWorld) {
  assert(
    readFileSync(`/proc/${await workerPid(this)}/environ`, 'utf8')
      .split('\0')
      .includes('UV_THREADPOOL_SIZE=1'),
  );
});

Then("the worker's process is gone", async function (this: RbeeWorld) {
  await waitUntil(
    () => !this.findProcesses().some(({ command }) => command.includes(String(this.notes.get('worker')))),
    () => 'the process of the worker still runs',
  );
});

Then('the first callback arrives with:', async function (this: RbeeWorld, expected: string) {
  const bodies = this.notes.get('callbacks') as unknown[];
  await waitUntil(
    () => bodies.length > 0,
    () => 'no callback came',
  );
  assertHas(bodies[0], JSON.parse(this.fill(expected)), 'the first callback');
});

Then('a later callback arrives with:', async function (this: RbeeWorld, expected: string) {
  const bodies = this.notes.get('callbacks') as unknown[];
  const fields = JSON.parse(this.fill(expected)) as Record<string, unknown>;
  await waitUntil(
    () => bodies.slice(1).some((body) => has(body, fields)),
    () => `the callbacks were ${JSON.stringify(bodies)}`,
  );
});

Then('the catalog has {string} at a local path that exists', async function (this: RbeeWorld, ref: string) {
  const { local_path } = await findModel(this, ref);
  assert(statSync(local_path).isFile());
});

Then("the catalog's facts of {string} are:", async function (this: RbeeWorld, ref: string, expected: string) {
  const facts = (await findModel(this, this.fill(ref))).facts as GgufFacts;
  assertHas(facts, JSON.parse(expected), 'facts');
});

Then("the catalog's size of {string} is that of {string}", async function (this: RbeeWorld, ref: string, name: string) {
  const model = await findModel(this, this.fill(ref));
  assert.equal(model.size_bytes, statSync(join(this.home, '.local/share/rbee/models', name)).size);
});

Then(
  'these models generate, each with more memory mapped than the one before:',
  async function (this: RbeeWorld, table: DataTable) {
    const mapped: number[] = [];
    for (const [model = ''] of table.raw()) {
      const opened = await OpenStream.open(`${this.queenUrl}/v2/tasks`, {
        method: 'POST',
        headers: { Accept: 'text/event-stream' },
        body: JSON.stringify({ model, prompt: 'Hello', temperature: 0 }),
      });
      await opened.closed;
      assert.equal(opened.terminal.type, 'end', JSON.stringify(opened.terminal));
      assert.match(opened.text, /\w+[.!?]$/);
      const worker = (await listWorkers(this)).find(({ model_ref }) => model_ref === model);
      mapped.push(mappedModelKb(worker?.pid as number));
    }
    const growing = mapped.every((size, index) => index === 0 || size > (mapped[index - 1] as number));
    assert(growing, `mapped KB: ${mapped.join(', ')}`);
  },
);

async function spawn(world: RbeeWorld, body: object): Promise<SpawnAnswer> {
  const response = await world.askHive('/v1/workers/spawn', { method: 'POST', body: JSON.stringify(body) });
  const answer = (await response.json()) as SpawnAnswer;
  assert.equal(response.status, 200, JSON.stringify(answer));
  world.notes.set('spawn answer', answer).set('worker', answer.worker_id).set('worker url', answer.url);
  world.notes.set('worker key', answer.api_key);
  return answer;
}

function spawnAnswer(world: RbeeWorld): SpawnAnswer {
  return world.notes.get('spawn answer') as SpawnAnswer;
}

async function listWorkers(world: RbeeWorld): Promise<Worker[]> {
  const response = await world.askHive('/v1/workers/list');
  return ((await response.json()) as { workers: Worker[] }).workers;
}

async function waitForWorkers(world: RbeeWorld, accept: (workers: Worker[]) => boolean): Promise<void> {
  let workers: Worker[] = [];
  await waitUntil(
    async () => {
      workers = await listWorkers(world);
      return accept(workers);
    },
    () => `the hive lists ${JSON.stringify(workers, null, 1)}`,
  );
}

async function noteWorkers(world: RbeeWorld): Promise<void> {
  world.notes.set('worker ids', (await listWorkers(world)).map(({ id }) => id).sort());
}

async function noteWorkersStep(this: RbeeWorld): Promise<void> {
  await noteWorkers(this);
}

async function workerPid(world: RbeeWorld): Promise<number> {
  const worker = (await listWorkers(world)).find(({ id }) => id === world.notes.get('worker'));
  assert(worker?.pid, 'the worker has no pid');
  return worker.pid;
}

async function findModel(world: RbeeWorld, ref: string): Promise<Model> {
  const response = await world.askHive('/v1/models/list');
  const { models } = (await response.json()) as { models: Model[] };
  const model = models.find(({ model_ref }) => model_ref === ref);
  assert(model, `${ref} is not in the catalog: ${models.map(({ model_ref }) => model_ref).join(', ')}`);
  return model;
}

/** Memory that a process has of the model file, in KB. */
function mappedModelKb(pid: number): number {
  const blocks = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return blocks
    .filter((block) => block.split('\n')[0]?.endsWith('.gguf'))
    .reduce((sum, block) => sum + Number(/^Rss:\s+(\d+) kB/m.exec(block)?.[1] ?? 0), 0);
}
