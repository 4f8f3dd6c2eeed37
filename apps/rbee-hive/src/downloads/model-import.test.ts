import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it } from '@jest/globals';
import type { ImportRequest } from '@rbee/protocol';
import type { HubRef } from '../hub/choose-variant.js';
import { DownloadStage } from './testing/download-stage.js';
import { digestOf } from './testing/scripted-hub.js';

const root = mkdtempSync(join(tmpdir(), 'rbee-import-'));
let stage: DownloadStage;
let count = 0;
afterEach(async () => {
  await stage.downloads.close();
  expect(stage.clock.pending).toBe(0);
});
afterAll(() => rmSync(root, { recursive: true }));

const ref: HubRef = { provider: 'hf', reference: 'o/r', variant: 'Q8_0' };
const parts = [Buffer.alloc(50_000, 'one'), Buffer.alloc(30_000, 'two')];
const nameOf = (index: number) => `m-Q8_0-0000${index + 1}-of-00002.gguf`;
const never = new AbortController().signal;

function begin(): ImportRequest {
  stage = new DownloadStage(join(root, String(count++)));
  stage.hub.add('o/r', Object.fromEntries(parts.map((bytes, index) => [nameOf(index), bytes])));
  const files = parts.map((bytes, index) => ({
    name: nameOf(index),
    size_bytes: bytes.length,
    digest: digestOf(bytes),
  }));
  return { model_ref: 'hf:o/r:Q8_0', files };
}

async function* pieces(bytes: Uint8Array, breakAfter?: number) {
  for (let start = 0; start < bytes.length; start += 7000) {
    if (breakAfter !== undefined && start >= breakAfter) throw new Error('the connection broke');
    yield bytes.subarray(start, start + 7000);
  }
}

/** Bytes that stop coming after the first ones. */
async function* stalling(bytes: Uint8Array, onWaiting: () => void) {
  yield bytes;
  onWaiting();
  await new Promise(() => undefined);
}

const write = (id: string, index: number, offset: number, end = parts[index]?.length, signal = never) =>
  stage.downloads.writeFile(id, index, offset, pieces(parts[index]?.subarray(offset, end) ?? Buffer.of()), signal);

it('takes in a model in pieces, whatever their size, and verifies it', async () => {
  const request = begin();
  const state = await stage.downloads.import(request);
  const id = state.download_id;
  expect(state).toEqual({
    download_id: id,
    files: [
      { name: nameOf(0), offset: 0 },
      { name: nameOf(1), offset: 0 },
    ],
    progress_url: `/v1/models/download/progress?id=${id}`,
  });
  const following = stage.follow(stage.downloads.find(id));
  await expect(write(id, 0, 0, 20_000)).resolves.toEqual({ offset: 20_000 });
  await expect(write(id, 0, 20_000)).resolves.toEqual({ offset: 50_000 });
  await expect(write(id, 0, 50_000)).resolves.toEqual({ offset: 50_000 });
  expect(stage.files(ref)).toEqual([nameOf(0)]);
  await expect(write(id, 1, 0)).resolves.toEqual({ offset: 30_000 });
  const model = await stage.downloads.find(id).done;
  expect(model).toMatchObject({ model_ref: 'hf:o/r:Q8_0', size_bytes: 80_000 });
  expect(stage.files(ref)).toEqual([nameOf(0), nameOf(1)]);
  const events = await following;
  expect(events[0]).toMatchObject({ stage: 'downloading', source: 'node', bytes_total: 80_000 });
  expect(events.at(-1)).toEqual({ stage: 'complete', local_path: model.local_path });
  await expect(stage.downloads.import(request)).resolves.toEqual({ download_id: 'cached', files: [] });
  await expect(write(id, 0, 0)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
});

it('goes on after a broken connection, in the same import or a later one', async () => {
  const request = begin();
  const { download_id: id } = await stage.downloads.import(request);
  const broken = stage.downloads.writeFile(id, 0, 0, pieces(parts[0] ?? Buffer.of(), 21_000), never);
  await expect(broken).rejects.toThrow('the connection broke');
  await expect(write(id, 0, 30_000)).rejects.toMatchObject({ code: 'INVALID_REQUEST', details: { offset: 21_000 } });
  await expect(write(id, 7, 0)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(stage.downloads.import(request)).resolves.toMatchObject({
    download_id: id,
    files: [{ offset: 21_000 }, {}],
  });
  const { download_id: other } = await restart(request);
  expect(other).not.toBe(id);
  const again = await stage.downloads.import(request);
  expect(again.files[0]?.offset).toBe(21_000);
  await write(other, 0, 21_000);
  await write(other, 1, 0);
  await expect(stage.downloads.find(other).done).resolves.toMatchObject({ size_bytes: 80_000 });
});

/** The hive ends and another one begins. */
async function restart(request: ImportRequest) {
  await stage.downloads.close();
  return stage.start().import(request);
}

it('gives up a piece whose connection hangs for one that comes later', async () => {
  const { download_id: id } = await importNew();
  const hanging = new Promise<void>((resolve) => {
    const bytes = stalling(parts[0]?.subarray(0, 10_000) ?? Buffer.of(), resolve);
    stage.downloads.writeFile(id, 0, 0, bytes, never).catch(() => undefined);
  });
  await hanging;
  await expect(write(id, 0, 10_000)).resolves.toEqual({ offset: 50_000 });
});

async function importNew() {
  const request = begin();
  return stage.downloads.import(request);
}

it('ends with DOWNLOAD_TIMEOUT when nothing comes, and keeps what is there', async () => {
  const { download_id: id } = await importNew();
  const { done } = stage.downloads.find(id);
  let piece: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve) => {
    piece = stage.downloads.writeFile(id, 0, 0, stalling(parts[0]?.subarray(0, 10_000) ?? Buffer.of(), resolve), never);
    piece.catch(() => undefined);
  });
  await stage.clock.advance(59_000);
  expect(stage.downloads.active()).toHaveLength(1);
  await stage.clock.advance(1_000);
  await expect(done).rejects.toMatchObject({ code: 'DOWNLOAD_TIMEOUT', details: { timeout_ms: 60_000 } });
  await expect(piece).rejects.toMatchObject({ code: 'CANCELLED' });
  await expect(write(id, 0, 10_000)).rejects.toMatchObject({ code: 'DOWNLOAD_TIMEOUT' });
  expect(stage.files(ref)).toEqual([expect.stringMatching(/\.partial$/)]);
});

it('ends with CHECKSUM_MISMATCH when the bytes are others than announced', async () => {
  const { download_id: id } = await importNew();
  const wrong = stage.downloads.writeFile(id, 0, 0, pieces(Buffer.alloc(50_000, 'other')), never);
  await expect(wrong).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH' });
  await expect(stage.downloads.find(id).done).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH' });
  expect(stage.files(ref)).toEqual([]);
  expect(stage.models).toEqual([]);
});

it('ends when whoever sends takes it back', async () => {
  const { download_id: id } = await importNew();
  await write(id, 0, 0, 20_000);
  await expect(stage.downloads.cancel(id)).resolves.toEqual({ ended: true });
  await expect(stage.downloads.find(id).done).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(stage.files(ref)).toEqual([expect.stringMatching(/\.partial$/)]);
});

it('is joined by requests for its model, and joins a download of it', async () => {
  const request = begin();
  const { download_id: id } = await stage.downloads.import(request);
  const { download } = await stage.request({ provider: 'hf', reference: 'o/r' });
  expect(download.id).toBe(id);
  await write(id, 0, 0);
  await write(id, 1, 0);
  await download.done;
  expect(stage.hub.listings).toBe(0);

  const other = begin();
  stage.hub.faults.push({ stallAfter: 100 });
  const requested = await stage.request(ref);
  await expect(stage.downloads.import(other)).resolves.toMatchObject({ download_id: requested.download.id, files: [] });
  await expect(write(requested.download.id, 0, 0)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
});

it('refuses what it cannot take in', async () => {
  const request = begin();
  const importing = (changed: Partial<ImportRequest>) => stage.downloads.import({ ...request, ...changed });
  const [first] = request.files;
  await expect(importing({ model_ref: 'hf:o/r' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(importing({ model_ref: 'file:///m.gguf' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  await expect(importing({ files: first ? [first, first] : [] })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  stage.freeBytes = 79_999;
  await expect(importing({})).rejects.toMatchObject({ code: 'INSUFFICIENT_DISK' });
  stage.freeBytes = 80_000;
  await importing({});
});
