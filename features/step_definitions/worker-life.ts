import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Given, Then, When } from '@cucumber/cucumber';
import type { HiveStatus, Narration, SpawnAnswer, Worker } from '@rbee/protocol';
import { OpenStream } from '../support/event-stream.js';
import { has } from '../support/expect.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Given('lost workers are started again', function (this: RbeeWorld) {
  this.variables.RBEE_RESTART_WORKERS = '1';
});

Given('another program holds the first worker port', async function (this: RbeeWorld) {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(this.ports.workers, '127.0.0.1', resolve));
  this.onClose(() => new Promise((resolve) => server.close(resolve)));
});

Given('{int} idle workers', async function (this: RbeeWorld, count: number) {
  for (let started = 0; started < count; started++) await spawnWorker(this);
  await untilWorkers(this, (workers) => workers.filter(({ state }) => state === 'idle').length === count);
});

When('one of the workers stands still', async function (this: RbeeWorld) {
  const [worker] = await listWorkers(this);
  process.kill(worker?.pid ?? 0, 'SIGSTOP');
});

When('the worker gets {word}', async function (this: RbeeWorld, signal: NodeJS.Signals) {
  process.kill(await notePid(this), signal);
});

When('the worker is held at its first token', async function (this: RbeeWorld) {
  const opened = this.notes.get('stream') as OpenStream;
  await opened.waitFor((event) => event.type === 'token', 'the first token');
  process.kill(await notePid(this), 'SIGSTOP');
});

When('two jobs run on the worker', async function (this: RbeeWorld) {
  const jobs = await Promise.all(
    [1, 2].map(() => openJob(this, { prompt: 'go', template: 'none', temperature: 0, max_tokens: 3000 })),
  );
  await Promise.all(jobs.map((job) => job.waitFor((event) => event.type === 'token', 'a token')));
  process.kill(await notePid(this), 'SIGSTOP');
  this.notes.set('jobs', jobs);
});

When('another job is sent to the worker itself', function (this: RbeeWorld) {
  const answer = fetch(`${this.notes.get('worker url')}/v1/inference`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${this.notes.get('worker key')}` },
    body: JSON.stringify({ prompt: 'Hello', max_tokens: 8 }),
  }).then(async (response) => ({ status: response.status, body: await response.text() }));
  this.notes.set('other job', answer);
});

When(
  '{int} workers are stopped while {int} are started',
  async function (this: RbeeWorld, stops: number, starts: number) {
    const stopped = (await listWorkers(this)).slice(0, stops);
    await Promise.all([
      ...stopped.map(({ id }) => this.askHive(`/v1/workers/${id}/shutdown`, { method: 'POST', body: '{}' })),
      ...Array.from({ length: starts }, () => spawnWorker(this)),
    ]);
  },
);

When('the hive is killed and started again', async function (this: RbeeWorld) {
  await notePid(this).catch(() => undefined);
  const hive = this.notes.get('hive') as Program;
  hive.kill('SIGKILL');
  await hive.waitForExit();
  this.notes.set('hive', await this.startDaemon('rbee-hive'));
});

When('the hive that the queen started is killed', async function (this: RbeeWorld) {
  await notePid(this);
  const hive = this.findProcesses().find(({ command }) => command.includes('rbee-hive.js'));
  assert(hive, 'no hive runs');
  process.kill(hive.pid, 'SIGKILL');
  await waitUntil(
    () => this.findProcesses().every(({ pid }) => pid !== hive.pid),
    () => `the hive ${hive.pid} goes on`,
  );
});

When('the queen knows that no hive runs', async function (this: RbeeWorld) {
  let hives: HiveStatus[] = [];
  await waitUntil(
    async () => {
      ({ hives } = (await (await fetch(`${this.queenUrl}/v2/hives/list`)).json()) as { hives: HiveStatus[] });
      return hives.every(({ hive }) => hive === 'stopped');
    },
    () => JSON.stringify(hives),
  );
});

Then('the worker that answered is still the only one', async function (this: RbeeWorld) {
  const { pid } = await findWorker(this, 'idle');
  assert.equal(pid, this.notes.get('pid'));
  const running = this.findProcesses().filter(({ command }) => command.includes('--worker-id'));
  assert.deepEqual(
    running.map((found) => found.pid),
    [pid],
  );
});

When('the hive stands still for {int} ms', async function (this: RbeeWorld, ms: number) {
  const hive = this.notes.get('hive') as Program;
  hive.kill('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, ms));
  hive.kill('SIGCONT');
});

Then('the other job is refused with {int} {word}', async function (this: RbeeWorld, status: number, code: string) {
  const answer = (await this.notes.get('other job')) as { status: number; body: string };
  assert.equal(answer.status, status, answer.body);
  assert.equal(JSON.parse(answer.body).error.code, code);
});

Then('both jobs end well', async function (this: RbeeWorld) {
  for (const job of this.notes.get('jobs') as OpenStream[]) {
    await job.closed;
    assert.equal(job.terminal.type, 'end', JSON.stringify(job.terminal));
    assert.equal(job.terminal.tokens_out, 3000);
  }
});

Then('the hive was told that the worker is draining', async function (this: RbeeWorld) {
  const id = this.notes.get('worker');
  const isDraining = (worker: Worker) => worker.id === id && worker.state === 'draining';
  const events = this.notes.get('hive events') as OpenStream;
  await events.waitFor((event) => event.type === 'worker' && isDraining(event.worker as Worker), 'the draining worker');
});

Then("the worker's process ended with the code {int}", async function (this: RbeeWorld, code: number) {
  const pattern = new RegExp(
    `"worker_id":"${this.notes.get('worker')}","pid":\\d+,"code":${code},"signal":null.*worker process ended`,
  );
  await waitUntil(
    () => pattern.test(hiveLog(this)),
    () => `the log of the hive does not show ${pattern}`,
  );
});

Then(
  'the worker ends {int} ms after its job, give or take {int} ms',
  async function (this: RbeeWorld, ms: number, tolerance: number) {
    const pid = await notePid(this);
    await untilWorkers(this, ([worker]) => worker?.last_job_ended_at !== undefined);
    const { last_job_ended_at } = await findWorker(this);
    await waitUntil(
      () => this.findProcesses().every((found) => found.pid !== pid),
      () => `the process ${pid} goes on`,
    );
    await untilWorkers(this, (workers) => workers.length === 0);
    const took = Date.now() - Date.parse(last_job_ended_at ?? '');
    assert(took >= ms && took <= ms + tolerance, `it took ${took} ms`);
  },
);

Then('its last activity is renewed', async function (this: RbeeWorld) {
  const { last_activity } = await findWorker(this);
  await untilWorkers(this, ([worker]) => worker !== undefined && worker.last_activity > last_activity);
});

Then('the worker is {string} under the pid of a live process', async function (this: RbeeWorld, state: string) {
  const { pid = 0 } = await findWorker(this, state);
  assert(pid > 0);
  assert(this.findProcesses().some((found) => found.pid === pid && found.command.includes('--worker-id')));
  this.notes.set('pid', pid);
});

Then('the worker is {string} under the same pid', async function (this: RbeeWorld, state: string) {
  assert.equal((await findWorker(this, state)).pid, this.notes.get('pid'));
});

Then('another worker takes its place:', async function (this: RbeeWorld, expected: string) {
  const fields = JSON.parse(expected) as Record<string, unknown>;
  const lost = this.notes.get('worker');
  await untilWorkers(this, ([worker]) => worker !== undefined && worker.id !== lost && has({ ...worker }, fields));
});

Then('the worker was found out within {int} ms', function (this: RbeeWorld, ms: number) {
  const stopped = /"time":"([^"]+)"[^\n]*"action":"canary"/.exec(hiveLog(this))?.[1];
  assert(stopped, 'no canary failed');
  const took = Date.parse(stopped) - Number(this.notes.get('stood still at'));
  // The second look at its health and the load of the machine that runs the suite come on top.
  assert(took < ms + 1_500, `it took ${took} ms`);
});

Then(
  'the force-kill of the worker is recorded with its pid, SIGKILL and {string}',
  async function (this: RbeeWorld, reason: string) {
    const id = this.notes.get('worker');
    const [record] = await waitUntil(
      () => nonEmpty(killRecords(this).filter((found) => found.worker_id === id)),
      () => hiveLog(this),
    );
    assert.equal(record?.signal, 'SIGKILL');
    assert(Number(record?.pid) > 1 && Number.isFinite(Date.parse(String(record?.at))), JSON.stringify(record));
    assert(String(record?.reason).includes(reason), JSON.stringify(record));
  },
);

Then('the force-kill of a worker is recorded with {string}', async function (this: RbeeWorld, reason: string) {
  await waitUntil(
    () => killRecords(this).some((record) => record.reason === reason),
    () => hiveLog(this),
  );
});

Then('exactly {int} force-kill is recorded, with {string}', function (this: RbeeWorld, count: number, reason: string) {
  assert.deepEqual(
    killRecords(this).map((record) => record.reason),
    Array.from({ length: count }, () => reason),
  );
});

Then('the log of the ended worker shows {string}', function (this: RbeeWorld, text: string) {
  const id = String(this.notes.get('worker'));
  const log = readFileSync(join(this.hiveHome, '.rbee/logs', `${id}.log`), 'utf8');
  assert(log.includes(text), log);
});

Then(
  'the hive ends with the exit code {int} within {int} s',
  async function (this: RbeeWorld, code: number, seconds: number) {
    assert.equal(await (this.notes.get('hive') as Program).waitForExit(seconds * 1000), code);
  },
);

Then('no worker process is left', async function (this: RbeeWorld) {
  await waitUntil(
    () => this.findProcesses().every(({ command }) => !command.includes('--worker-id')),
    () => JSON.stringify(this.findProcesses()),
    5_000,
  );
});

Then('no run file of a worker is left', function (this: RbeeWorld) {
  assert.deepEqual(readdirSync(join(this.hiveHome, '.rbee/run/workers')), []);
});

Then('there is exactly one process for each listed worker', async function (this: RbeeWorld) {
  const listed = (await listWorkers(this)).map(({ pid }) => pid).sort();
  const running = this.findProcesses().filter(({ command }) => command.includes('--worker-id'));
  assert.deepEqual(running.map(({ pid }) => pid).sort(), listed);
});

Then(
  'the hive narrates {string} with the pid of the worker and {string}',
  async function (this: RbeeWorld, action: string, text: string) {
    const events = this.notes.get('hive events') as OpenStream;
    const found = await events.waitFor((event) => event.action === action, action);
    const { human } = found as unknown as Narration;
    assert(human.includes(String(this.notes.get('pid'))) && human.includes(text), human);
  },
);

Then("the worker's entry has no pid any more", async function (this: RbeeWorld) {
  const response = await this.askHive(`/v1/workers/${this.notes.get('worker')}`);
  assert(!('pid' in ((await response.json()) as object)));
});

Then('the crash is in the file of crashes', function (this: RbeeWorld) {
  const lines = readFileSync(join(this.hiveHome, '.rbee/logs/crashes.jsonl'), 'utf8').trim().split('\n');
  const record = JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  assert.equal(record.worker_id, this.notes.get('worker'));
  assert.equal(record.pid, this.notes.get('pid'));
  assert.equal(record.signal, 'SIGKILL');
  assert((record.last_lines as string[]).length > 0);
});

async function listWorkers(world: RbeeWorld): Promise<Worker[]> {
  return ((await (await world.askHive('/v1/workers/list')).json()) as { workers: Worker[] }).workers;
}

async function untilWorkers(world: RbeeWorld, wanted: (workers: Worker[]) => boolean): Promise<void> {
  let workers: Worker[] = [];
  await waitUntil(
    async () => {
      workers = await listWorkers(world);
      return wanted(workers);
    },
    () => `the hive lists ${JSON.stringify(workers, null, 1)}`,
  );
}

/** The only worker of the hive, once it is in this state. */
async function findWorker(world: RbeeWorld, state?: string): Promise<Worker> {
  await untilWorkers(world, ([worker]) => worker !== undefined && (state === undefined || worker.state === state));
  const [worker] = await listWorkers(world);
  assert(worker);
  return worker;
}

async function notePid(world: RbeeWorld): Promise<number> {
  const { pid = 0 } = await findWorker(world);
  assert(pid > 0);
  world.notes.set('pid', pid);
  return pid;
}

async function spawnWorker(world: RbeeWorld): Promise<void> {
  const response = await world.askHive('/v1/workers/spawn', {
    method: 'POST',
    body: JSON.stringify({ model: 'builtin:honeycomb', backend: 'cpu' }),
  });
  const answer = (await response.json()) as SpawnAnswer;
  assert.equal(response.status, 200, JSON.stringify(answer));
}

async function openJob(world: RbeeWorld, body: object): Promise<OpenStream> {
  const job = await OpenStream.open(`${world.notes.get('worker url')}/v1/inference`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${world.notes.get('worker key')}` },
    body: JSON.stringify(body),
  });
  world.onClose(async () => job.close());
  return job;
}

function hiveLog(world: RbeeWorld): string {
  return readFileSync(join(world.hiveHome, '.rbee/logs/rbee-hive.log'), 'utf8');
}

/** What the hive has written about the processes that it killed. */
function killRecords(world: RbeeWorld): Record<string, unknown>[] {
  return hiveLog(world)
    .split('\n')
    .filter((line) => line.includes('"worker process killed"'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function nonEmpty<T>(items: T[]): T[] | undefined {
  return items.length > 0 ? items : undefined;
}
