import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import type { DownloadProgress, Model, NodeModels } from '@rbee/protocol';
import { OpenStream } from '../support/event-stream.js';
import { assertHas } from '../support/expect.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

const PARTIAL = /\.partial$/;
const MODEL = /\.gguf$/;

Given('a disk of {int} MB for the models', function (this: RbeeWorld, megabytes: number) {
  if (process.getuid?.() !== 0) return 'skipped';
  const folder = modelsFolder(this);
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'rbee-scenario', folder]);
  this.onClose(async () => {
    // The hive of the scenario still runs: its files there are only let go of.
    execFileSync('umount', ['--lazy', folder]);
  });
  return undefined;
});

Given('a machine with {int} MB of free disk', function (this: RbeeWorld, megabytes: number) {
  this.presentMachine({ disk_total_mb: 500_000, disk_available_mb: megabytes });
});

Given("the hive's catalog file is full of garbage", function (this: RbeeWorld) {
  mkdirSync(dirname(catalogFile(this)), { recursive: true });
  writeFileSync(catalogFile(this), 'this was a database once, '.repeat(1_000));
});

Given("a folder is where the hive's catalog file has to be", function (this: RbeeWorld) {
  const file = catalogFile(this);
  if (existsSync(file)) renameSync(file, `${file}.aside`);
  mkdirSync(file, { recursive: true });
});

Given("the folder has gone from the place of the hive's catalog file", function (this: RbeeWorld) {
  const file = catalogFile(this);
  rmSync(file, { recursive: true });
  if (existsSync(`${file}.aside`)) renameSync(`${file}.aside`, file);
});

When('the hive is killed', async function (this: RbeeWorld) {
  const hive = this.notes.get('hive') as Program;
  hive.kill('SIGKILL');
  await hive.waitForExit();
});

When('I ask the hive to download {string}', async function (this: RbeeWorld, ref: string) {
  const response = await this.askHive('/v1/models/download', {
    method: 'POST',
    body: JSON.stringify({ model_ref: ref }),
  });
  const body = (await response.json()) as { download_id?: string };
  this.notes.set('answer', { status: response.status, body }).set('download id', body.download_id);
});

When('I follow the download', async function (this: RbeeWorld) {
  const path = `/v1/models/download/progress?id=${this.notes.get('download id')}`;
  const opened = await OpenStream.open(this.hiveUrl + path, { headers: this.hiveHeaders });
  this.notes.set('download stream', opened);
  this.onClose(async () => opened.close());
});

When('I ask the hive for a worker for {string}', async function (this: RbeeWorld, model: string) {
  const body = JSON.stringify({ model, backend: 'cpu' });
  const response = await this.askHive('/v1/workers/spawn', { method: 'POST', body });
  const answer = (await response.json()) as { worker_id?: string };
  this.notes.set('answer', { status: response.status, body: answer }).set('worker', answer.worker_id);
});

When(/^I start these at once:$/, function (this: RbeeWorld, table: DataTable) {
  const programs = table.raw().map(([line = '']) => this.startCommand(line));
  this.notes.set('started at once', programs);
});

When(/^the partial file holds (\d+) % of its model$/, async function (this: RbeeWorld, percent: string) {
  const held = this.notes.get('held bytes') as number;
  const heldPercent = this.notes.get('held percent') as number;
  const wanted = (held / heldPercent) * Number(percent);
  await waitUntil(
    () => listModelFiles(this).some((path) => PARTIAL.test(path) && statSync(path).size >= wanted),
    () => `the models folder has ${JSON.stringify(listModelFiles(this))}, ${wanted} bytes were awaited`,
  );
});

Then('all of them end with the exit code {int}', async function (this: RbeeWorld, code: number) {
  for (const program of this.notes.get('started at once') as Program[])
    assert.equal(await program.waitForExit(), code, program.report());
});

Then("all of them write what the last one's model says", function (this: RbeeWorld) {
  const texts = (this.notes.get('started at once') as Program[]).map(({ text }) => text.stdout);
  assert(
    texts.every((text) => text.trim().length > 0 && text === texts[0]),
    JSON.stringify(texts),
  );
});

Then('the download tells {string} and ends with {string}', async function (this: RbeeWorld, list: string, end: string) {
  const opened = this.notes.get('download stream') as OpenStream;
  await opened.closed;
  const told = stages(opened);
  for (const stage of list.split(', ')) assert(told.includes(stage), told.join(', '));
  assert.equal(told.at(-1), end, JSON.stringify(opened.events.at(-1)));
  assert.equal(opened.messages.at(-1)?.data, '[DONE]');
  assert.equal(told.filter((stage) => stage === 'complete' || stage === 'error').length, 1);
});

Then('the download has shown bytes, total and speed', function (this: RbeeWorld) {
  const shown = downloading(this);
  assert(shown.length > 1, JSON.stringify(shown));
  for (const [index, event] of shown.entries()) {
    const { bytes_downloaded, bytes_total, speed_mbps } = event;
    assert(bytes_total > 0 && bytes_downloaded <= bytes_total && speed_mbps >= 0, JSON.stringify(event));
    assert(bytes_downloaded >= (shown[index - 1]?.bytes_downloaded ?? 0), 'the bytes went back');
  }
});

Then('the download was shown as throttled', function (this: RbeeWorld) {
  assert(
    downloading(this).some(({ throttled }) => throttled),
    JSON.stringify(downloading(this)),
  );
});

Then('the download took at least {int} ms', function (this: RbeeWorld, ms: number) {
  const { times } = this.notes.get('download stream') as OpenStream;
  const took = (times.at(-1) ?? 0) - (times[0] ?? 0);
  assert(took >= ms, `it took ${took} ms`);
});

Then('the stream has progress of a download', function (this: RbeeWorld) {
  const opened = this.notes.get('stream') as OpenStream;
  const shown = opened.events.filter((event) => event.type === 'progress' && event.phase === 'download');
  assert(
    shown.some(({ bytes_total }) => Number(bytes_total) > 0),
    JSON.stringify(opened.events, null, 1),
  );
});

Then("the catalog's row of {string} has:", async function (this: RbeeWorld, ref: string, expected: string) {
  assertHas(await findRow(this, ref), JSON.parse(this.fill(expected)), `row of ${ref}`);
});

Then('the catalog has no row of {string}', async function (this: RbeeWorld, ref: string) {
  const rows = await listRows(this);
  assert(!rows.some(({ model_ref }) => model_ref === ref), JSON.stringify(rows.map(({ model_ref }) => model_ref)));
});

Then(
  'the catalog has {int} model(s) of the provider {string}',
  async function (this: RbeeWorld, count: number, provider: string) {
    const rows = await listRows(this, `?provider=${provider}`);
    assert.equal(rows.length, count, JSON.stringify(rows));
    assert(rows.every((row) => row.provider === provider));
  },
);

Then('the file(s) of {string} is/are what the hub has', async function (this: RbeeWorld, ref: string) {
  const row = await findRow(this, ref);
  const hub = this.notes.get('hub') as { files: { path: string; digest: string; size: number }[] };
  assert(row.files && row.files.length > 0, JSON.stringify(row));
  for (const { name, size_bytes, digest } of row.files) {
    const original = hub.files.find(({ path }) => path.split('/').at(-1) === name);
    const path = join(dirname(row.local_path), name);
    assert.deepEqual([sha256(path), statSync(path).size], [original?.digest, original?.size], name);
    assert.deepEqual([digest, size_bytes], [original?.digest, original?.size], name);
  }
  const [only] = row.files;
  if (row.files.length === 1) assert.equal(row.digest, only?.digest);
  assert.equal(
    row.size_bytes,
    row.files.reduce((sum, file) => sum + file.size_bytes, 0),
  );
});

Then('the models folder has no rest of a download', async function (this: RbeeWorld) {
  // A lock or a partial file may go a moment after the download has told of its end.
  await waitUntil(
    () => listModelFiles(this).every((path) => MODEL.test(path)),
    () => `the models folder has ${JSON.stringify(listModelFiles(this))}`,
    3_000,
  );
});

Then('the models folder has no model', function (this: RbeeWorld) {
  assert.deepEqual(
    listModelFiles(this).filter((path) => MODEL.test(path)),
    [],
  );
});

Then('the models folder has a rest of a download', function (this: RbeeWorld) {
  assert(
    listModelFiles(this).some((path) => PARTIAL.test(path)),
    JSON.stringify(listModelFiles(this)),
  );
});

Then('the catalog comes to have {string}', async function (this: RbeeWorld, ref: string) {
  let answer = '';
  await waitUntil(
    async () => {
      answer = await (await this.askHive('/v1/models/list')).text();
      return answer.includes(`"model_ref":"${ref}`);
    },
    () => `the hive answers ${answer}`,
  );
});

Then(
  /^GET (\S+) of the hive answers (\d+) with the code (\w+)$/,
  async function (this: RbeeWorld, path: string, status: string, code: string) {
    const response = await this.askHive(path);
    const body = (await response.json()) as { error?: { code: string } };
    assert.deepEqual([response.status, body.error?.code], [Number(status), code], JSON.stringify(body));
  },
);

When('the hive of the queen has ended all workers', async function (this: RbeeWorld) {
  const { workers } = (await (await this.askHive('/v1/workers/list')).json()) as { workers: { id: string }[] };
  for (const { id } of workers) await this.askHive(`/v1/workers/${id}/shutdown`, { method: 'POST' });
  await waitUntil(
    async () => (await (await this.askHive('/v1/workers/list')).text()) === '{"workers":[]}',
    () => 'workers are left',
  );
});

Then('a backup of the broken catalog is kept', function (this: RbeeWorld) {
  const backup = `${catalogFile(this)}.corrupt.backup`;
  assert.match(readFileSync(backup, 'utf8'), /this was a database once/);
});

Then('the hive has {int} model(s) of the hub in {string}', function (this: RbeeWorld, count: number, folder: string) {
  const path = join(modelsFolder(this), folder);
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => MODEL.test(name));
  assert.equal(files.length, count, files.join('\n'));
});

Then('the queen lists {string} on {string}', async function (this: RbeeWorld, ref: string, nodes: string) {
  const answer = (await (await fetch(`${this.queenUrl}/v2/models`)).json()) as NodeModels;
  const having = answer.models.filter(({ model_ref }) => model_ref === ref).map(({ node }) => node);
  assert.deepEqual(having.sort(), nodes.split(', ').sort(), JSON.stringify(answer, null, 1));
});

function downloading(world: RbeeWorld): Extract<DownloadProgress, { stage: 'downloading' }>[] {
  const opened = world.notes.get('download stream') as OpenStream;
  const events = opened.events as unknown as DownloadProgress[];
  return events.filter((event) => event.stage === 'downloading');
}

function stages(opened: OpenStream): string[] {
  return opened.events.map(({ stage }) => String(stage));
}

async function listRows(world: RbeeWorld, query = ''): Promise<Model[]> {
  const response = await world.askHive(`/v1/models/list${query}`);
  assert.equal(response.status, 200);
  return ((await response.json()) as { models: Model[] }).models;
}

async function findRow(world: RbeeWorld, ref: string): Promise<Model> {
  const rows = await listRows(world);
  const row = rows.find(({ model_ref }) => model_ref === ref);
  assert(row, `${ref} is not in the catalog: ${rows.map(({ model_ref }) => model_ref).join(', ')}`);
  return row;
}

function modelsFolder(world: RbeeWorld): string {
  return join(world.hiveHome, '.local/share/rbee/models');
}

function catalogFile(world: RbeeWorld): string {
  return join(world.hiveHome, '.rbee/models.db');
}

/** Paths of all files in the models folder of the hive. */
function listModelFiles(world: RbeeWorld): string[] {
  const folder = modelsFolder(world);
  if (!existsSync(folder)) return [];
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path));
  return paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
