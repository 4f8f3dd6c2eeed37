import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataTable, Then, When } from '@cucumber/cucumber';
import type { Worker } from '@rbee/protocol';
import { OpenStream } from '../support/event-stream.js';
import { assertHas } from '../support/expect.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

When('the workers go on', function (this: RbeeWorld) {
  signalWorkers(this, 'SIGUSR2');
});

When('the workers go on when the task has started', async function (this: RbeeWorld) {
  const opened = this.notes.get('stream') as OpenStream;
  await opened.waitFor((event) => event.type === 'token' && event.i === 2, 'the third token');
  signalWorkers(this, 'SIGUSR2');
});

When('the workers go on when the progress shows layer {int}', async function (this: RbeeWorld, layer: number) {
  const progress = this.notes.get('loading progress') as OpenStream;
  await progress.waitFor((event) => event.layers_loaded === layer, `layer ${layer}`);
  signalWorkers(this, 'SIGUSR2');
});

When('the worker stands still', function (this: RbeeWorld) {
  this.notes.set('stood still at', Date.now());
  signalWorkers(this, 'SIGSTOP');
});

When('the worker moves again', function (this: RbeeWorld) {
  signalWorkers(this, 'SIGCONT');
});

When("I read the worker's loading progress in the background", async function (this: RbeeWorld) {
  this.notes.set('loading progress', await openProgress(this, `${this.notes.get('worker url')}/v1/loading/progress`));
});

Then(/^GET (\S+) of the worker answers at least:$/, async function (this: RbeeWorld, path: string, expected: string) {
  const worker = await findWorker(this);
  const response = await fetch(worker.url + path, { headers: { Authorization: `Bearer ${worker.api_key}` } });
  assert.equal(response.status, 200);
  const body = (await response.json()) as Record<string, unknown>;
  assertHas(body, JSON.parse(expected), path);
  this.notes.set('worker answer', body);
});

Then('its progress_url gives a stream of progress', async function (this: RbeeWorld) {
  const { progress_url } = this.notes.get('worker answer') as { progress_url: string };
  const progress = await openProgress(this, progress_url);
  await progress.waitFor((event) => event.stage === 'loading_to_vram', 'a stage of loading');
});

Then('the loading progress tells:', async function (this: RbeeWorld, table: DataTable) {
  const progress = this.notes.get('loading progress') as OpenStream;
  await progress.closed;
  const stages = progress.events as unknown as Record<string, unknown>[];
  for (const { layers, total, megabytes } of table.hashes()) {
    const stage = stages.find(({ layers_loaded }) => layers_loaded === Number(layers));
    assertHas(
      stage,
      { stage: 'loading_to_vram', layers_total: Number(total), vram_mb: Number(megabytes) },
      `layer ${layers}`,
    );
  }
});

Then('the loading progress ends with ready and [DONE]', function (this: RbeeWorld) {
  const progress = this.notes.get('loading progress') as OpenStream;
  assert.deepEqual(progress.events.at(-1), { stage: 'ready' });
  assert.equal(progress.messages.at(-1)?.data, '[DONE]');
});

Then('the worker has all its slots free and is idle', async function (this: RbeeWorld) {
  const worker = await findWorker(this);
  let body: { state?: string; slots_available?: number; slots_total?: number } = {};
  await waitUntil(
    async () => {
      const response = await fetch(`${worker.url}/v1/ready`, {
        headers: { Authorization: `Bearer ${worker.api_key}` },
      });
      body = (await response.json()) as typeof body;
      return body.state === 'idle' && body.slots_available === body.slots_total;
    },
    () => `the worker says ${JSON.stringify(body)}`,
    5_000,
  );
});

Then('the log of the worker shows {string}', async function (this: RbeeWorld, text: string) {
  const { id } = await findWorker(this);
  const log = join(this.hiveHome, `.rbee/logs/worker-${id.replace(/^worker-/, '')}.log`);
  await waitUntil(
    () => readFileSync(log, 'utf8').includes(text),
    () => `${log} does not show ${text}`,
    5_000,
  );
});

Then('the log of each noted worker shows {string}', function (this: RbeeWorld, text: string) {
  const ids = this.notes.get('worker ids') as string[];
  assert(ids.length > 0, 'no worker is noted');
  for (const id of ids) {
    const log = readFileSync(join(this.hiveHome, `.rbee/logs/${id}.log`), 'utf8');
    assert(log.includes(text), `${id}: ${log}`);
  }
});

Then('stdout has exactly these rows of workers:', function (this: RbeeWorld, table: DataTable) {
  const rows = this.last.text.stdout.split('\n').filter((line) => /^worker-/.test(line));
  const left = rows.map((row) => row.split(/ {2,}/).map((cell) => cell.trim()));
  for (const cells of table.raw()) {
    const patterns = cells.map((cell) => new RegExp(`^${this.fill(cell)}$`));
    const index = left.findIndex((row) => patterns.every((pattern) => row.some((cell) => pattern.test(cell))));
    assert(index >= 0, `no row has ${patterns.join(' ')}\n${this.last.report()}`);
    left.splice(index, 1);
  }
  assert.deepEqual(left, [], this.last.report());
});

function signalWorkers(world: RbeeWorld, signal: NodeJS.Signals): void {
  const workers = world.findProcesses().filter(({ command }) => command.includes('--worker-id'));
  assert(workers.length > 0, 'no worker runs');
  for (const { pid } of workers) process.kill(pid, signal);
}

async function findWorker(world: RbeeWorld): Promise<Worker & { api_key: string }> {
  const { workers } = (await (await world.askHive('/v1/workers/list')).json()) as { workers: Worker[] };
  assert.equal(workers.length, 1, JSON.stringify(workers));
  return (await (await world.askHive(`/v1/workers/${workers[0]?.id}`)).json()) as Worker & { api_key: string };
}

async function openProgress(world: RbeeWorld, url: string): Promise<OpenStream> {
  const { api_key } = await findWorker(world);
  const progress = await OpenStream.open(url, { headers: { Authorization: `Bearer ${api_key}` } });
  world.onClose(async () => progress.close());
  return progress;
}
