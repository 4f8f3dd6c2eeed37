import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { type DownloadProgress, RbeeError } from '@rbee/protocol';
import type { HubRef } from '../hub/choose-variant.js';
import { defer } from '../workers/deferred.js';
import type { DownloadsOptions } from './downloads.js';
import { DownloadStage } from './testing/download-stage.js';
import { brokenError, digestOf } from './testing/scripted-hub.js';

const root = mkdtempSync(join(tmpdir(), 'rbee-downloads-'));
const stages: DownloadStage[] = [];
afterEach(async () => {
  for (const stage of stages.splice(0)) {
    await stage.downloads.close();
    expect(stage.clock.pending).toBe(0);
  }
});
afterAll(() => rmSync(root, { recursive: true }));

const MB = 2 ** 20;
const content = Buffer.alloc(100_000, 'rbee');
const hf = (reference: string, variant?: string): HubRef => ({
  provider: 'hf',
  reference,
  ...(variant && { variant }),
});
const q4 = hf('o/r', 'Q4_K_M');

function newStage(settings: Partial<DownloadsOptions> = {}): DownloadStage {
  const stage = new DownloadStage(join(root, String(stages.length), String(Math.random())), settings);
  stages.push(stage);
  stage.hub.add('o/r', { 'm-Q4_K_M.gguf': content, 'm-Q8_0.gguf': Buffer.alloc(2000, 8), 'README.md': Buffer.of(1) });
  return stage;
}

const stagesOf = (events: readonly DownloadProgress[]) => events.map(({ stage }) => stage);
const humans = (stage: DownloadStage) => stage.said.map(({ human }) => human);

describe('a download', () => {
  it('brings the usual variant, registers it and tells how it went', async () => {
    const stage = newStage();
    const { download } = await stage.request(hf('o/r'));
    const following = stage.follow(download);
    const model = await stage.until(download.done);
    expect(model).toMatchObject({ model_ref: 'hf:o/r:Q4_K_M', size_bytes: content.length });
    expect(model.files).toEqual([{ name: 'm-Q4_K_M.gguf', size_bytes: content.length, digest: digestOf(content) }]);
    expect(stage.files(q4)).toEqual(['m-Q4_K_M.gguf']);
    const events = await following;
    expect(stagesOf(events).filter((name) => name !== 'downloading')).toEqual(['verifying', 'complete']);
    expect(events.at(-1)).toEqual({ stage: 'complete', local_path: model.local_path });
    expect(humans(stage)).toEqual([
      'downloading hf:o/r:Q4_K_M from hub.test: 0.1 MB',
      expect.stringMatching(/^downloaded hf:o\/r:Q4_K_M in .* MB\/s\), SHA-256 verified$/),
    ]);
    expect(stage.said).toEqual(
      stage.said.map(() => expect.objectContaining({ actor: 'model-provisioner', model_ref: 'hf:o/r:Q4_K_M' })),
    );
    expect(stage.said.at(-1)?.duration_ms).toBeGreaterThanOrEqual(0);
    await expect(stage.downloads.request(hf('o/r'))).resolves.toEqual({ model });
    expect(stage.ends).toEqual([{ source: 'hub', result: 'complete', receivedBytes: content.length }]);
  });

  it('goes on after a break, from the bytes that are there', async () => {
    const stage = newStage();
    stage.hub.faults.push({ cutAfter: 40_000 });
    const { download } = await stage.request(q4);
    const following = stage.follow(download);
    await stage.until(download.done);
    expect(stage.hub.fetched.map(({ offset }) => offset)).toEqual([0, 40_000]);
    const events = await following;
    expect(events.filter((event) => event.stage === 'retrying')).toEqual([
      {
        ...{ stage: 'retrying', attempt: 2, max_attempts: 6, delay_ms: 100 },
        reason: 'the connection broke (reset) at 40 %',
      },
    ]);
    expect(events.find((event) => event.stage === 'downloading' && event.resumed_from === 40_000)).toBeDefined();
    expect(humans(stage)).toContain('the connection broke (reset) at 40 %: attempt 2 of 6 in 100 ms');
  });

  it.each([
    ['breaks', { cutAfter: 10 }, 'DOWNLOAD_FAILED', true],
    ['stalls', { stallAfter: 10 }, 'DOWNLOAD_TIMEOUT', true],
    ['hangs at its end', { hangAtEnd: true }, 'DOWNLOAD_TIMEOUT', true],
    ['is corrupt', { corruptAt: 5 }, 'CHECKSUM_MISMATCH', false],
  ])('that %s six times ends', async (_name, fault, code, keepsPartial) => {
    const stage = newStage();
    stage.hub.faults.push(...Array.from({ length: 7 }, () => fault));
    const { download } = await stage.request(q4);
    const following = stage.follow(download);
    await expect(stage.until(download.done)).rejects.toMatchObject({ code, details: { attempts: 6 } });
    const retries = (await following).flatMap((event) => (event.stage === 'retrying' ? [event.delay_ms] : []));
    expect(retries).toEqual([100, 200, 400, 800, 1600]);
    expect((await following).at(-1)).toMatchObject({ stage: 'error', code, details: { attempts: 6 } });
    expect(stage.files(q4).some((name) => name.endsWith('.partial'))).toBe(keepsPartial);
    expect(stage.files(q4)).not.toContain('m-Q4_K_M.gguf');
    expect(stage.models).toEqual([]);
    expect(stage.said.at(-1)).toMatchObject({ action: 'download_failed', level: 'error' });
  });

  it.each([
    ['MODEL_ACCESS_DENIED', new RbeeError('MODEL_ACCESS_DENIED', 'no')],
    ['DISK_FULL', new RbeeError('DISK_FULL', 'full')],
    ['DOWNLOAD_FAILED', new RbeeError('DOWNLOAD_FAILED', 'no permission', { retryable: false })],
  ])('ends at once with %s', async (code, error) => {
    const stage = newStage();
    stage.hub.faults.push({ error });
    const { download } = await stage.request(q4);
    await expect(stage.until(download.done)).rejects.toMatchObject({ code });
    expect(stage.hub.fetched).toHaveLength(1);
  });

  it('waits as long as the hub asks for', async () => {
    const stage = newStage();
    stage.hub.faults.push({ error: new RbeeError('DOWNLOAD_FAILED', '429', { details: { retry_after_ms: 30_000 } }) });
    const { download } = await stage.request(q4);
    const before = stage.clock.now();
    await stage.until(download.done);
    expect(stage.clock.now() - before).toBeGreaterThanOrEqual(30_000);
  });

  it('asks for a new list when the file has changed on the hub', async () => {
    const stage = newStage();
    const changed = new RbeeError('DOWNLOAD_FAILED', 'changed', { details: { changed: true } });
    stage.hub.faults.push({ cutAfter: 50_000 }, { error: changed });
    const { download } = await stage.request(q4);
    const other = Buffer.alloc(60_000, 'new');
    stage.hub.add('o/r', { 'm-Q4_K_M.gguf': other });
    const model = await stage.until(download.done);
    expect(model.size_bytes).toBe(60_000);
    expect(stage.hub.listings).toBe(2);
    expect(stage.files(q4)).toEqual(['m-Q4_K_M.gguf']);
  });

  it('brings the parts of a split model one after the other, and what is there already not again', async () => {
    const stage = newStage();
    const part = (index: number) => `big-Q8_0-0000${index}-of-00003.gguf`;
    stage.hub.add('o/big', Object.fromEntries([1, 2, 3].map((index) => [part(index), Buffer.alloc(30_000, index)])));
    const ref = hf('o/big', 'Q8_0');
    mkdirSync(stage.folder(ref), { recursive: true });
    writeFileSync(join(stage.folder(ref), part(1)), Buffer.alloc(30_000, 1));
    // Of the right size, but of another version.
    writeFileSync(join(stage.folder(ref), part(2)), Buffer.alloc(30_000, 9));
    writeFileSync(join(stage.folder(ref), 'old.gguf.0123456789abcdef.partial'), 'rest');
    stage.hub.faults.push({ cutAfter: 15_000 });
    const { download } = await stage.request(hf('o/big'));
    const following = stage.follow(download);
    const model = await stage.until(download.done);
    expect(model).toMatchObject({ size_bytes: 90_000, local_path: join(stage.folder(ref), part(1)) });
    expect(stage.files(ref)).toEqual([1, 2, 3].map(part));
    expect(stage.hub.fetched.map(({ path, offset }) => [path, offset])).toEqual([
      [part(2), 0],
      [part(2), 15_000],
      [part(3), 0],
    ]);
    const counted = (await following).flatMap((event) =>
      event.stage === 'downloading' ? [event.bytes_downloaded] : [],
    );
    expect(counted.at(-1)).toBe(90_000);
    expect(counted).toEqual([...counted].sort((a, b) => a - b));
  });

  it('of several parts goes on from one to the next', async () => {
    const stage = newStage();
    const part = (index: number) => `big-Q8_0-0000${index}-of-00003.gguf`;
    stage.hub.add('o/big', Object.fromEntries([1, 2, 3].map((index) => [part(index), Buffer.alloc(30_000, index)])));
    const { download } = await stage.request(hf('o/big'));
    const following = stage.follow(download);
    await stage.until(download.done);
    const events = (await following).filter((event) => event.stage === 'downloading');
    expect(events.at(-1)).toMatchObject({ bytes_downloaded: 90_000 });
    expect(events.filter((event) => event.resumed_from !== undefined)).toEqual([]);
  });

  it('is verified by its size where the hub knows no digest', async () => {
    const stage = newStage();
    stage.hub.withoutDigest.add('m-Q4_K_M.gguf');
    const { download } = await stage.request(q4);
    const model = await stage.until(download.done);
    expect(model.files?.[0]?.digest).toBe(digestOf(content));
    expect(humans(stage).at(-1)).toMatch(/size verified$/);
  });

  it('of a file that is no model leaves nothing', async () => {
    const stage = newStage();
    stage.registerError = new RbeeError('UNSUPPORTED_MODEL_FORMAT', 'not a GGUF file');
    const { download } = await stage.request(q4);
    await expect(stage.until(download.done)).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL_FORMAT' });
    expect(stage.files(q4)).toEqual([]);
  });

  it('keeps its verified file while the catalog is not available', async () => {
    const stage = newStage();
    stage.registerError = new RbeeError('CATALOG_UNAVAILABLE', 'locked');
    await expect(stage.until((await stage.request(q4)).download.done)).rejects.toMatchObject({
      code: 'CATALOG_UNAVAILABLE',
    });
    stage.registerError = undefined;
    await stage.until((await stage.request(q4)).download.done);
    expect(stage.hub.fetched).toHaveLength(1);
  });
});

describe('requests', () => {
  it('for one model share one download, whatever they call it', async () => {
    const stage = newStage();
    const refs = [hf('o/r'), q4, hf('o/r', 'q4_k_m'), hf('o/r', 'm-Q4_K_M.gguf'), hf('o/r')];
    const requested = await Promise.all(refs.map((ref) => stage.request(ref)));
    expect(new Set(requested.map(({ download }) => download.id)).size).toBe(1);
    expect(stage.hub.listings).toBe(1);
    await stage.until(requested[0]?.download.done ?? Promise.reject(new Error('none')));
    expect(stage.hub.fetched).toHaveLength(1);
    expect(stage.downloads.active()).toEqual([]);
  });

  it('end it when the last one is given back, and keep what has come', async () => {
    const stage = newStage();
    stage.hub.faults.push({ stallAfter: 60_000 });
    const [first, second] = [await stage.request(q4), await stage.request(q4)];
    const following = stage.follow(first.download);
    await stage.untilStalling();
    expect(stage.downloads.active()).toMatchObject([{ download_id: first.download.id, model_ref: 'hf:o/r:Q4_K_M' }]);
    first.release();
    first.release();
    expect(first.download.signal.aborted).toBe(false);
    second.release();
    // A request that comes while it ends waits for that, and goes on from there.
    const third = await stage.request(q4);
    expect(third.download.id).not.toBe(first.download.id);
    await expect(first.download.done).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await following).at(-1)).toMatchObject({ stage: 'error', code: 'CANCELLED' });
    await stage.until(third.download.done);
    expect(stage.hub.fetched.map(({ offset }) => offset)).toEqual([0, 60_000]);
    expect(humans(stage)).toContain('resuming hf:o/r:Q4_K_M from hub.test at 60 % of 0.1 MB');
    expect(humans(stage)).toContain('stopped downloading hf:o/r:Q4_K_M at 60 %; what has come is kept');
  });

  it('made over HTTP are given back one by one', async () => {
    const stage = newStage();
    stage.hub.faults.push({ stallAfter: 10 });
    const [lent, held] = [await stage.request(q4), await stage.request(q4)];
    lent.download.lend(lent.release);
    await expect(stage.downloads.cancel(lent.download.id)).resolves.toEqual({ ended: false });
    // There is nothing more to give back: the other one stays.
    await expect(stage.downloads.cancel(lent.download.id)).resolves.toEqual({ ended: false });
    held.download.lend(held.release);
    await expect(stage.downloads.cancel(lent.download.id)).resolves.toEqual({ ended: true });
    await expect(stage.downloads.cancel('unknown')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('wait for their turn', async () => {
    const stage = newStage({ maxActive: 1 });
    const gate = defer<void>();
    stage.hub.gate = gate.promise;
    const first = await stage.request(q4);
    const second = await stage.request(hf('o/r', 'Q8_0'));
    const following = stage.follow(second.download);
    await stage.clock.advance(0);
    expect(second.download.progress).toEqual({ stage: 'waiting', position: 1 });
    expect(stage.hub.fetched).toEqual([]);
    gate.resolve();
    await stage.until(Promise.all([first.download.done, second.download.done]));
    expect(stagesOf(await following)[0]).toBe('waiting');
    expect(humans(stage)).toContain('hf:o/r:Q8_0 waits for other downloads: it is the next one');
  });

  it('are refused when the disk is too small for what is missing', async () => {
    const stage = newStage();
    stage.hub.add('o/big', { 'big-Q4_K_M.gguf': Buffer.alloc(3 * MB) });
    stage.freeBytes = 2 * MB;
    await expect(stage.downloads.request(hf('o/big'))).rejects.toMatchObject({
      code: 'INSUFFICIENT_DISK',
      details: { required: 3, available: 2, missing: 1 },
      suggestion: expect.stringContaining('rbee-keeper models rm'),
    });
    expect(stage.downloads.active()).toEqual([]);
    stage.freeBytes = 3 * MB;
    stage.hub.faults.push({ cutAfter: 2 * MB }, { stallAfter: 0 });
    const { download, release } = await stage.request(hf('o/big'));
    await stage.untilStalling();
    // What the other one still needs is taken.
    stage.hub.add('o/next', { 'next-Q4_K_M.gguf': Buffer.alloc(3 * MB) });
    await expect(stage.downloads.request(hf('o/next'))).rejects.toMatchObject({
      details: { available: 2, missing: 1 },
    });
    release();
    await download.settled;
    stage.freeBytes = MB;
    await stage.until((await stage.request(hf('o/big'))).download.done);
  });

  it('that come at the same time are not promised the same disk', async () => {
    const looked = defer<number>();
    let looking = 0;
    const freeBytes = () => {
      looking++;
      if (looking === 2) looked.resolve(150_000);
      return looked.promise;
    };
    const stage = newStage({ freeBytes });
    stage.hub.add('o/other', { 'm-Q4_K_M.gguf': content });
    const both = await Promise.allSettled([stage.request(q4), stage.request(hf('o/other'))]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('are refused before they begin when the model is not acceptable', async () => {
    const stage = newStage();
    const accepted: [string, number][] = [];
    const refusal = new RbeeError('INSUFFICIENT_RAM', 'no');
    const accept = async (...model: [string, number]) => {
      accepted.push(model);
      throw refusal;
    };
    await expect(stage.downloads.request(q4, undefined, accept)).rejects.toBe(refusal);
    expect(stage.said).toEqual([]);
    const { download } = await stage.request(q4);
    await expect(stage.downloads.request(q4, undefined, accept)).rejects.toBe(refusal);
    await stage.until(download.done);
    expect(accepted).toEqual(Array(2).fill(['hf:o/r:Q4_K_M', content.length]));
  });

  it.each([
    ['an unknown repository', hf('o/none'), 'MODEL_NOT_FOUND'],
    ['an unknown variant', hf('o/r', 'Q2_K'), 'MODEL_NOT_FOUND'],
  ])('for %s are refused', async (_name, ref, code) => {
    await expect(newStage().downloads.request(ref)).rejects.toMatchObject({ code });
  });

  it('try again when the list does not come, but do not wait for long', async () => {
    const stage = newStage();
    stage.hub.listingErrors.push(brokenError('the connection broke'), brokenError('the connection broke'));
    const { download } = await stage.until(stage.request(q4));
    await stage.until(download.done);
    expect(humans(stage)[1]).toMatch(
      /^the files of hf:o\/r did not come: the connection broke: attempt 3 of 6 in 200 ms/,
    );
    const patient = new RbeeError('DOWNLOAD_FAILED', 'too many requests', { details: { retry_after_ms: 60_000 } });
    stage.hub.listingErrors.push(patient);
    await expect(stage.downloads.request(hf('o/r', 'Q8_0'))).rejects.toBe(patient);
  });

  it('share a limit with the other downloads', async () => {
    const stage = newStage({ bytesPerSecond: 1000 });
    const gate = defer<void>();
    stage.hub.gate = gate.promise;
    const first = await stage.request(q4);
    while (stage.hub.sending < 1) await stage.clock.advance(0);
    const second = await stage.request(hf('o/r', 'Q8_0'));
    while (stage.hub.sending < 2) await stage.clock.advance(0);
    gate.resolve();
    await stage.until(Promise.all([first.download.done, second.download.done]));
    const limits = stage.hub.fetched.map(({ bytesPerSecond }) => bytesPerSecond);
    expect(limits.sort()).toEqual([1000, 500]);
    expect(stage.hub.limits).toEqual([500, 1000]);
  });

  it('begin, and go faster, as soon as they may', async () => {
    const limits = { maxActive: 1, bytesPerSecond: 1000 };
    const stage = newStage({
      get maxActive() {
        return limits.maxActive;
      },
      get bytesPerSecond() {
        return limits.bytesPerSecond;
      },
    });
    const gate = defer<void>();
    stage.hub.gate = gate.promise;
    const first = await stage.request(q4);
    const second = await stage.request(hf('o/r', 'Q8_0'));
    while (stage.hub.sending < 1) await stage.clock.advance(0);
    expect(second.download.progress).toEqual({ stage: 'waiting', position: 1 });
    limits.maxActive = 2;
    limits.bytesPerSecond = 4000;
    stage.downloads.limitsChanged();
    while (stage.hub.sending < 2) await stage.clock.advance(0);
    expect(stage.hub.limits).toEqual([4000, 2000]);
    gate.resolve();
    await stage.until(Promise.all([first.download.done, second.download.done]));
  });

  it('end when the hive does', async () => {
    const stage = newStage();
    stage.hub.faults.push({ stallAfter: 10 });
    const { download } = await stage.request(q4);
    await stage.downloads.close();
    await expect(download.done).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(stage.downloads.request(q4)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('followers', () => {
  it('who come late first get the newest event, for a minute after the end', async () => {
    const stage = newStage();
    stage.hub.faults.push({ stallAfter: 60_000 });
    const { download } = await stage.request(q4);
    await stage.untilStalling();
    expect(stage.downloads.find()).toBe(download);
    const following = stage.follow(download);
    await stage.clock.advance(250);
    await stage.until(download.done);
    expect((await following)[0]).toMatchObject({ stage: 'downloading' });
    expect(stage.downloads.find(download.id)).toBe(download);
    await expect(stage.follow(download)).resolves.toEqual([{ stage: 'complete', local_path: expect.any(String) }]);
    expect(() => stage.downloads.find()).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
    await stage.clock.advance(60_000);
    expect(() => stage.downloads.find(download.id)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  it('may go', async () => {
    const stage = newStage();
    stage.hub.faults.push({ stallAfter: 10 });
    const { download } = await stage.request(q4);
    const gone = new AbortController();
    const following = (async () => {
      for await (const _event of download.follow(gone.signal)) gone.abort(new Error('gone'));
    })();
    await expect(following).rejects.toThrow('gone');
  });
});

it('variants tells what there is to choose from, and what is there', async () => {
  const stage = newStage();
  await stage.until((await stage.request(hf('o/r', 'Q8_0'))).download.done);
  const variants = await stage.downloads.variants(hf('o/r'));
  expect(variants).toMatchObject([
    { variant: 'Q8_0', model_ref: 'hf:o/r:Q8_0', size_bytes: 2000, default: false, present: true },
    { variant: 'Q4_K_M', files: [{ name: 'm-Q4_K_M.gguf', digest: digestOf(content) }], default: true, present: false },
  ]);
  expect(existsSync(stage.folder(q4))).toBe(false);
});
