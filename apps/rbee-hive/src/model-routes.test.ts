import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { callBytes, callJson, callStream, callText } from '@rbee/daemon-kit';
import { startTestHub, type TestHub, writeMadeModel } from '@rbee/fixtures';
import { type DownloadProgress, downloadProgressSchema, hiveEventSchema, hiveRoutes, type Model } from '@rbee/protocol';
import { TestHive, type TestHiveOptions } from '../test/test-hive.js';

const REPO = 'acme/made';
const REF = `hf:${REPO}`;
const FILE = 'made.Q4_K_M.gguf';

let folder: string;
let path: string;
let hub: TestHub;
const hives: TestHive[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-model-routes-'));
  path = join(folder, FILE);
  writeMadeModel(path);
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(async () => {
  hub = await startTestHub();
  await hub.addRepo(REPO, { [FILE]: { path }, 'README.md': { bytes: Buffer.from('made') } });
});
afterEach(async () => {
  for (const hive of hives.splice(0)) await hive.stop();
  await hub.close();
});

async function start({ config, ...options }: TestHiveOptions = {}): Promise<TestHive> {
  const settings = { hub: { endpoint: hub.endpoint, tokenFile: join(folder, 'token'), token: undefined }, ...config };
  const hive = await TestHive.start({ ...options, config: settings });
  hives.push(hive);
  return hive;
}

async function models(hive: TestHive, provider?: Model['provider']): Promise<Model[]> {
  return (await callJson(hive.target, hiveRoutes.listModels, { query: { provider } })).models;
}

const download = (hive: TestHive, body: object = {}) =>
  callJson(hive.target, hiveRoutes.downloadModel, { body: { model_ref: REF, ...body } });

async function progressOf(hive: TestHive, id: string): Promise<DownloadProgress[]> {
  const { messages } = await callStream(hive.target, hiveRoutes.downloadProgress, { query: { id } });
  const events: DownloadProgress[] = [];
  for await (const message of messages) events.push(downloadProgressSchema.parse(JSON.parse(message.data)));
  return events;
}

async function fetchModel(hive: TestHive): Promise<Model> {
  const { download_id } = await download(hive);
  await progressOf(hive, download_id);
  const [model] = await models(hive, 'hf');
  return model as Model;
}

describe('a model that is asked for', () => {
  it('is downloaded, verified and in the catalog; afterwards the hub is not asked again', async () => {
    const hive = await start();
    const { download_id, local_path, progress_url } = await download(hive);
    expect(local_path).toBeNull();
    expect(progress_url).toBe(`/v1/models/download/progress?id=${download_id}`);
    const events = await progressOf(hive, download_id);
    const [model] = await models(hive, 'hf');
    expect(events.at(-1)).toEqual({ stage: 'complete', local_path: model?.local_path });
    const digest = createHash('sha256').update(readFileSync(path)).digest('hex');
    expect(model).toMatchObject({
      provider: 'hf',
      reference: REPO,
      variant: 'Q4_K_M',
      model_ref: `${REF}:Q4_K_M`,
      size_bytes: statSync(path).size,
      digest,
      files: [{ name: FILE, size_bytes: statSync(path).size, digest }],
    });
    expect(readFileSync(model?.local_path as string).equals(readFileSync(path))).toBe(true);
    hub.clearLog();
    for (const model_ref of [REF, `${REF}:Q4_K_M`, `${REF}:q4_k_m`, `${REF}:${FILE}`]) {
      expect(await download(hive, { model_ref })).toMatchObject({
        download_id: 'cached',
        local_path: model?.local_path,
      });
    }
    expect(hub.requests).toEqual([]);
  });

  it('is downloaded once for three downloads and two workers', async () => {
    const hive = await start();
    const all = await Promise.all([
      download(hive),
      download(hive, { model_ref: `${REF}:Q4_K_M` }),
      download(hive),
      hive.spawn({ model: REF }),
      hive.spawn({ model: `${REF}:${FILE}` }),
    ]);
    expect(new Set(all.map(({ download_id }) => download_id)).size).toBe(1);
    expect(all.slice(3)).toMatchObject([{ state: 'provisioning' }, { state: 'provisioning' }]);
    await hive.until((workers) => workers.filter(({ state }) => state === 'idle').length === 2);
    expect(hub.contentRequests()).toHaveLength(1);
  });

  it('comes before the worker that needs it, which tells how it comes', async () => {
    const hive = await start();
    const answer = await hive.spawn({ model: REF });
    expect(answer).toMatchObject({ state: 'provisioning', device: 0 });
    expect(answer.url).toBeUndefined();
    expect(answer.download_id).toBeDefined();
    const events = await hive.startEvents(answer.worker_id);
    expect(events.at(-1)).toMatchObject({ type: 'end', state: 'idle' });
    const phases = events.flatMap((event) => (event.type === 'progress' ? [event.phase] : []));
    expect(phases[0]).toBe('download');
    expect(phases.at(-1)).toBe('load');
    const worker = await hive.worker(answer.worker_id);
    expect(worker).toMatchObject({ state: 'idle', api_key: answer.api_key, url: expect.stringMatching(/^http:/) });
    expect(await hive.spawn({ model: REF })).toMatchObject({ state: expect.stringMatching(/loading|idle/) });
  });

  it('is answered with 202 while it is on its way to a worker, and with 200 once it is there', async () => {
    const hive = await start();
    const spawn = () =>
      fetch(new URL('/v1/workers/spawn', hive.hive.url), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ model: REF, backend: 'cpu' }),
      });
    const first = await spawn();
    expect(first.status).toBe(202);
    const { worker_id } = (await first.json()) as { worker_id: string };
    await hive.startEvents(worker_id);
    expect((await spawn()).status).toBe(200);
  });

  it('comes for as many workers as there may be', async () => {
    const hive = await start({ config: { maxWorkers: 1 } });
    const spawned = await Promise.allSettled([REF, `${REF}:Q4_K_M`, REF].map((model) => hive.spawn({ model })));
    const refused = spawned.flatMap((spawn) => (spawn.status === 'rejected' ? [spawn.reason.code] : []));
    expect(refused).toEqual(['WORKER_SPAWN_FAILED', 'WORKER_SPAWN_FAILED']);
    const [worker] = await hive.workers();
    await hive.startEvents(worker?.worker_id as string);
    expect(await hive.workers()).toMatchObject([{ state: 'idle' }]);
  });

  it('fails the worker that waits for it, which says why for a while', async () => {
    hub.faults.push({ on: 'resolve', status: 404 });
    const hive = await start();
    const answer = await hive.spawn({ model: REF });
    const events = await hive.startEvents(answer.worker_id);
    expect(events.at(-1)).toMatchObject({ type: 'error', code: 'MODEL_NOT_FOUND' });
    expect(await hive.workers()).toEqual([]);
    expect(await hive.worker(answer.worker_id)).toMatchObject({
      state: 'failed',
      last_error: { code: 'MODEL_NOT_FOUND' },
    });
  });

  it('is given up when the only worker that needs it is stopped, and gone on with later', async () => {
    const hive = await start();
    const size = statSync(path).size;
    const paused = hub.pauseAt(FILE, Math.floor(size * 0.6));
    const answer = await hive.spawn({ model: REF });
    await paused;
    await hive.shutDownWorker(answer.worker_id);
    expect((await progressOf(hive, answer.download_id as string)).at(-1)).toMatchObject({
      stage: 'error',
      code: 'CANCELLED',
    });
    expect(await hive.workers()).toEqual([]);
    hub.resume();
    const { download_id } = await download(hive);
    expect((await progressOf(hive, download_id)).at(-1)).toMatchObject({ stage: 'complete' });
    expect(hub.contentRequests().at(-1)?.range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  it('goes on for one caller when another takes its request back', async () => {
    const hive = await start();
    const paused = hub.pauseAt(FILE, 1000);
    const { download_id } = await download(hive);
    await download(hive);
    await paused;
    const cancel = () => callJson(hive.target, hiveRoutes.cancelDownload, { params: { download_id } });
    expect(await cancel()).toMatchObject({ ended: false });
    expect(await cancel()).toMatchObject({ ended: true });
    expect(await models(hive, 'hf')).toEqual([]);
  });
});

describe('a model that does not fit', () => {
  const probe = (figures: object) => {
    const file = join(folder, 'probe.json');
    writeFileSync(file, JSON.stringify(figures));
    return file;
  };

  beforeEach(async () => {
    await hub.addRepo('acme/large', { 'large.Q4_K_M.gguf': { sparse: 5000 * 2 ** 20 } });
  });
  const large = { model: 'hf:acme/large', model_ref: 'hf:acme/large' };

  it.each([
    ['memory', { ram_available_mb: 4000 }, 'INSUFFICIENT_RAM', { required: 6000, available: 4000 }],
    [
      'disk',
      { ram_available_mb: 8000, disk_available_mb: 4000 },
      'INSUFFICIENT_DISK',
      { required: 5000, missing: 1000 },
    ],
  ])('for want of %s is refused before a byte is fetched', async (_what, figures, code, details) => {
    const hive = await start({ config: { probeFile: probe(figures) } });
    await expect(hive.spawn(large)).rejects.toMatchObject({ code, details });
    const planned = callJson(hive.target, hiveRoutes.downloadModel, { body: { ...large, worker: { backend: 'cpu' } } });
    await expect(planned).rejects.toMatchObject({ code, details });
    expect(hub.contentRequests()).toEqual([]);
    expect(await hive.workers()).toEqual([]);
  });

  it('may be downloaded all the same when no worker is meant', async () => {
    const hive = await start({ config: { probeFile: probe({ ram_available_mb: 4000 }) } });
    const paused = hub.pauseAt('large.Q4_K_M.gguf', 1000);
    const { download_id } = await callJson(hive.target, hiveRoutes.downloadModel, { body: large });
    await paused;
    await callJson(hive.target, hiveRoutes.cancelDownload, { params: { download_id } });
  });
});

describe('a model of another node', () => {
  it('is read in pieces from one hive and taken in by the other', async () => {
    const [giver, taker] = await Promise.all([start(), start()]);
    const model = await fetchModel(giver);
    hub.clearLog();
    const size = model.size_bytes;
    const body = {
      model_ref: model.model_ref,
      files: [{ name: FILE, size_bytes: size, digest: model.digest as string }],
    };
    const begin = () => callJson(taker.target, hiveRoutes.importModel, { body });
    const state = await begin();
    expect(state).toMatchObject({ files: [{ name: FILE, offset: 0 }] });
    const middle = Math.floor(size / 3);
    const send = async (start: number, end: number) => {
      const params = { id: model.id, index: '0' };
      const bytes = await callBytes(giver.target, hiveRoutes.readModelFile, { start, end }, { params });
      return callJson(taker.target, hiveRoutes.writeModelFile, {
        params: { download_id: state.download_id, index: '0' },
        query: { offset: String(start) },
        upload: { bytes, length: end - start },
      });
    };
    expect(await send(0, middle)).toEqual({ offset: middle });
    await expect(send(0, middle)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect((await begin()).files).toEqual([{ name: FILE, offset: middle }]);
    const progress = progressOf(taker, state.download_id);
    expect(await send(middle, size)).toEqual({ offset: size });
    expect((await progress).at(-1)).toMatchObject({ stage: 'complete' });
    expect(await models(taker, 'hf')).toMatchObject([{ model_ref: model.model_ref, digest: model.digest }]);
    expect(await begin()).toMatchObject({ download_id: 'cached' });
    expect(hub.requests).toEqual([]);
  });

  it('is not given away when its files are not what they were, and leaves the catalog when they have gone', async () => {
    const hive = await start();
    const { id, local_path } = await fetchModel(hive);
    const read = () =>
      callBytes(hive.target, hiveRoutes.readModelFile, { start: 0, end: 4 }, { params: { id, index: '0' } });
    appendFileSync(local_path, 'more');
    await expect(read()).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', details: { model: id } });
    expect(await models(hive, 'hf')).toMatchObject([{ id, size_bytes: statSync(path).size + 4 }]);
    rmSync(local_path);
    await expect(read()).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', details: { model: id } });
    expect(await models(hive, 'hf')).toEqual([]);
  });
});

describe('a catalog that was damaged', () => {
  it('is replaced, its models are found again, and whoever listens hears of it', async () => {
    const first = await start();
    const model = await fetchModel(first);
    hives.splice(hives.indexOf(first), 1);
    await first.stop(true);
    writeFileSync(join(first.home, '.rbee', 'models.db'), 'this is no database, whatever its name says'.repeat(200));
    const hive = await start({ home: first.home });
    const abort = new AbortController();
    const { messages } = await callStream(hive.target, hiveRoutes.events, { signal: abort.signal });
    const found = new Set<string>();
    for await (const message of messages) {
      const event = hiveEventSchema.parse(JSON.parse(message.data));
      if (event.type === 'snapshot') expect(event.warnings).toEqual([expect.stringContaining('was damaged')]);
      if (event.type === 'snapshot') for (const { model_ref } of event.models) found.add(model_ref);
      if (event.type === 'model' && event.change === 'added') found.add(event.model.model_ref);
      if (found.has(model.model_ref)) break;
    }
    abort.abort(new Error('done'));
    expect(found).toContain('builtin:honeycomb');
    hub.clearLog();
    expect(await download(hive)).toMatchObject({ download_id: 'cached', local_path: model.local_path });
    expect(hub.requests).toEqual([]);
  });
});

describe('the models of a hive', () => {
  it('can be removed, unless a worker uses them', async () => {
    const hive = await start();
    const { id, local_path } = await fetchModel(hive);
    const { worker_id } = await hive.ready({ model: REF });
    const remove = () => callJson(hive.target, hiveRoutes.removeModel, { params: { id } });
    await expect(remove()).rejects.toMatchObject({ code: 'FORBIDDEN', details: { workers: [worker_id] } });
    await hive.shutDownWorker(worker_id);
    await hive.until((workers) => workers.length === 0);
    expect(await remove()).toMatchObject({ freed_bytes: statSync(path).size, file_removed: true });
    expect(() => statSync(local_path)).toThrow();
    expect(await models(hive, 'hf')).toEqual([]);
  });

  it('are offered by the hub in variants, of which some are there', async () => {
    await hub.addRepo(REPO, { [FILE]: { path }, 'made.Q8_0.gguf': { path } });
    const hive = await start();
    await fetchModel(hive);
    const { variants } = await callJson(hive.target, hiveRoutes.modelVariants, { query: { model_ref: REF } });
    expect(variants).toMatchObject([
      { variant: 'Q4_K_M', model_ref: `${REF}:Q4_K_M`, default: true, present: true },
      { variant: 'Q8_0', default: false, present: false },
    ]);
  });

  it('are told with what they are estimated to take and took, and so are the metrics', async () => {
    const memory = {
      weights_bytes: 1,
      kv_cache_bytes: 2,
      compute_bytes: 3,
      total_bytes: 6,
      context_size: 100,
      slots: 2,
    };
    const hive = await start({ script: { memory } });
    const { model_ref } = await fetchModel(hive);
    await hive.ready({ model: REF });
    let [model] = await models(hive, 'hf');
    // The figures come with the worker's callback, ahead of which the hive may have seen that it is ready.
    for (let tries = 0; tries < 400 && model?.memory?.used === undefined; tries++) {
      await new Promise((settle) => setTimeout(settle, 10));
      [model] = await models(hive, 'hf');
    }
    expect(model?.memory).toMatchObject({ used: memory, estimated: { context_size: 100, slots: 2 } });
    let text = '';
    for await (const chunk of await callText(hive.target, hiveRoutes.metrics)) text += Buffer.from(chunk);
    expect(text).toContain(`rbee_hive_model_memory_used_bytes{model="${model_ref}",part="weights"} 1\n`);
    expect(text).toContain(`rbee_hive_model_memory_estimated_bytes{model="${model_ref}",part="weights"}`);
    expect(text).toContain('rbee_hive_downloads_total{source="hub",result="complete"} 1\n');
  });
});
