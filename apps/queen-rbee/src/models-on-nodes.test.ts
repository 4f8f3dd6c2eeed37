import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { TestQueen } from './testing/test-queen.js';

const MODEL = 'hf:org/m:Q4_K_M';

describe('models on this machine and on another node', () => {
  let folder: string;
  let here: ScriptedHive;
  let far: ScriptedHive;
  let queen: TestQueen;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'queen-models-'));
    [here, far] = await Promise.all([new ScriptedHive().start(), new ScriptedHive().start()]);
    queen = await TestQueen.start({ hivePort: here.port, timeouts: { ready_poll: 20 } });
    const hive_token_file = join(folder, 'key');
    writeFileSync(hive_token_file, 'a-key\n', { mode: 0o600 });
    const node = { node_name: 'far', hive_url: `http://127.0.0.1:${far.port}`, hive_token_file };
    expect((await queen.json('POST', '/v2/registry/beehives/add', node)).status).toBe(200);
  });
  afterEach(async () => {
    await queen.stop();
    await Promise.all([here.stop(), far.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const pull = async (body: object) => (await queen.stream('POST', '/v2/models/pull', body)).all;

  it('lists the models of every node whose hive runs, and says which were left out', async () => {
    here.models.add(MODEL, 'weights');
    far.models.add('hf:org/n:Q8_0', 'other weights');
    const { body } = await queen.json('GET', '/v2/models');
    expect(body.models).toMatchObject([
      { node: 'localhost', model_ref: MODEL },
      { node: 'far', model_ref: 'hf:org/n:Q8_0' },
    ]);
    await far.crash();
    const { body: later } = await queen.json('GET', '/v2/models');
    expect(later.models).toMatchObject([{ node: 'localhost' }]);
    expect(later.unasked).toMatchObject([{ node: 'far' }]);
    const named = await queen.json('GET', '/v2/models?node=localhost');
    expect(named.body).toMatchObject({ models: [{ model_ref: MODEL }], downloads: [], unasked: [] });
    expect((await queen.json('GET', '/v2/models?node=nowhere')).body.error.code).toBe('NODE_NOT_FOUND');
  });

  it('pulls a model from the hub, then from the node that has it, then from nowhere', async () => {
    const first = await pull({ model: MODEL });
    expect(first.at(-2)).toMatchObject({ type: 'end', node: 'localhost', source: 'hub', model: { model_ref: MODEL } });
    const second = await pull({ model: 'hf:org/m', node: 'far' });
    expect(second.at(-2)).toMatchObject({ type: 'end', node: 'far', source: 'node', from: 'localhost' });
    expect((await pull({ model: MODEL, node: 'far' })).at(-2)).toMatchObject({ source: 'catalog' });
    expect([here.models.hub, far.models.hub]).toEqual([[MODEL], []]);
  });

  it('ends a pull with the code that the hive gives', async () => {
    here.models.fetch = async () => {
      throw new RbeeError('MODEL_ACCESS_DENIED', 'the hub wants a token', { suggestion: 'set HF_TOKEN' });
    };
    const end = (await pull({ model: MODEL })).at(-2);
    expect(end).toMatchObject({ type: 'error', code: 'MODEL_ACCESS_DENIED', status: 403 });
    expect(end?.details).toMatchObject({ node: 'localhost', suggestion: 'set HF_TOKEN' });
  });

  it('ends the download of a pull whose client goes away', async () => {
    here.models.fetch = () => new Promise(() => undefined);
    const abort = new AbortController();
    const answer = queen.stream('POST', '/v2/models/pull', { model: MODEL }, { signal: abort.signal });
    answer.catch(() => undefined);
    await here.watch.until(() => here.models.downloads.size === 1);
    const [download] = here.models.downloads.values();
    abort.abort();
    await here.watch.until(() => download?.ended === true);
  });

  it('removes a model, and says which node has one that is not there', async () => {
    here.models.add(MODEL, 'weights');
    const removal = await queen.json('DELETE', '/v2/models/org-m-q4_k_m');
    expect(removal.body).toMatchObject({ node: 'localhost', freed_bytes: 7 });
    far.models.add(MODEL, 'weights');
    await queen.json('GET', '/v2/models');
    const { body } = await queen.json('DELETE', '/v2/models/org-m-q4_k_m');
    expect(body.error).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      details: { nodes: ['far'], suggestion: expect.stringContaining('rbee-keeper models rm org-m-q4_k_m --node far') },
    });
  });

  it('hands scans and the list of variants to the hive of the node', async () => {
    expect((await queen.json('POST', '/v2/models/scan', { node: 'far' })).body).toMatchObject({
      node: 'far',
      added: [],
    });
    const variants = await queen.json('GET', '/v2/models/variants?model=hf:org/m');
    expect(variants.body).toEqual({ node: 'localhost', model_ref: 'hf:org/m', variants: [] });
  });

  describe('a task whose model is not there', () => {
    it('brings the model before it starts a worker, and shows how it comes', async () => {
      here.models.fetch = async (download) => {
        await download.followed;
        download.progress(40);
        return 'weights';
      };
      const events = await (await queen.task({ model: 'hf:org/m', node: 'localhost' })).all;
      expect(events.find(({ type }) => type === 'progress')).toMatchObject({ phase: 'download', bytes_downloaded: 40 });
      expect(events.at(-2)?.type).toBe('end');
      const { calls } = here;
      expect(calls.indexOf('downloadModel')).toBeLessThan(calls.indexOf('spawnWorker'));
    });

    it('has it downloaded anew by a hive that has forgotten the download', async () => {
      here.models.fetch = async (download) => {
        here.models.fetch = async () => 'weights';
        here.models.downloads.delete(download.id);
        return new Promise(() => undefined);
      };
      const events = await (await queen.task({ model: 'hf:org/m', node: 'localhost' })).all;
      expect(events.at(-2)?.type).toBe('end');
      expect(events.filter(({ action }) => action === 'retry')).toMatchObject([
        { human: expect.stringContaining('has forgotten a download') },
      ]);
      expect(here.models.hub).toHaveLength(2);
    });

    it('copies it from the node that has it', async () => {
      here.models.add(MODEL, 'weights');
      await queen.json('GET', '/v2/models');
      const events = await (await queen.task({ model: MODEL, node: 'far' })).all;
      expect(events.at(-2)?.type).toBe('end');
      expect([far.models.held.size, far.models.hub]).toEqual([1, []]);
    });

    it('goes to the node that has it, where no node is named', async () => {
      far.models.add(MODEL, 'weights');
      await queen.json('GET', '/v2/models');
      const events = await (await queen.task({ model: 'hf:org/m' })).all;
      expect(events.find(({ type }) => type === 'worker')).toMatchObject({ node: 'far' });
    });

    it('uses a worker that runs the same variant under its name', async () => {
      here.models.add(MODEL, 'weights');
      await (await queen.task({ model: MODEL, node: 'localhost' })).all;
      const events = await (await queen.task({ model: 'hf:org/m', node: 'localhost' })).all;
      expect(events.find(({ type }) => type === 'worker')).toMatchObject({ reused: true });
    });

    it('is refused for a backend that the node has not before anything is fetched', async () => {
      here.spawnError = new RbeeError('BACKEND_UNAVAILABLE', 'there is no cuda');
      const events = await (await queen.task({ model: MODEL, backend: 'cuda', node: 'localhost' })).all;
      expect(events.at(-2)).toMatchObject({ type: 'error', code: 'BACKEND_UNAVAILABLE' });
      expect(here.calls).not.toContain('downloadModel');
    });

    it('ends the download with the last task that waits for it, and the next one begins anew', async () => {
      here.models.fetch = () => new Promise(() => undefined);
      const [one, other] = await Promise.all(
        ['one', 'other'].map((job_id) => queen.task({ job_id, model: MODEL, node: 'localhost' })),
      );
      await here.watch.until(() => here.models.downloads.size === 1);
      const [download] = here.models.downloads.values();
      await queen.call('DELETE', '/v2/tasks/one');
      expect((await one?.all)?.at(-2)).toMatchObject({ code: 'CANCELLED' });
      expect(download?.ended).toBe(false);
      await queen.call('DELETE', '/v2/tasks/other');
      expect((await other?.all)?.at(-2)).toMatchObject({ code: 'CANCELLED' });
      await here.watch.until(() => download?.ended === true);
      here.models.fetch = async () => 'weights';
      const events = await (await queen.task({ model: MODEL, node: 'localhost' })).all;
      expect(events.at(-2)?.type).toBe('end');
    });
  });
});
