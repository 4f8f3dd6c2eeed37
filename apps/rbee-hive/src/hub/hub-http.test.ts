import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { sleep, systemClock } from '@rbee/daemon-kit';
import { type Fault, startTestHub, type TestHub } from '@rbee/fixtures';
import { partialPathOf } from '../transfer/partial-file.js';
import type { FetchEvent, HubFile } from './hub.js';
import { HubHttp } from './hub-http.js';

const REPO = 'acme/tiny';
const PATH = 'folder/x+y.gguf';
const BYTES = randomBytes(3_000_000);
const DIGEST = createHash('sha256').update(BYTES).digest('hex');
const FILE: HubFile = { path: PATH, sizeBytes: BYTES.length, digest: DIGEST };
const forever = new AbortController().signal;

describe('the hub over HTTP', () => {
  let folder: string;
  let target: string;
  let server: TestHub;
  let hub: HubHttp;
  let events: FetchEvent[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbee-hub-'));
    target = join(folder, 'hf', 'x+y.gguf');
    events = [];
    server = await startTestHub({ pageSize: 2 });
    await server.addRepo(REPO, { [PATH]: { bytes: BYTES }, 'README.md': { bytes: Buffer.from('#') } });
    hub = new HubHttp({ endpoint: server.endpoint, clock: systemClock, silenceMs: 20_000 });
  });
  afterEach(async () => {
    await hub.close();
    await server.close();
    await rm(folder, { recursive: true });
  });

  const withOptions = (options: { token?: string; silenceMs?: number; endpoint?: string }) =>
    new HubHttp({ endpoint: server.endpoint, clock: systemClock, silenceMs: 20_000, ...options });
  const fetchFile = (
    options: { file?: HubFile; signal?: AbortSignal; from?: HubHttp; bytesPerSecond?: number } = {},
  ) => {
    const { file = FILE, signal = forever, from = hub, bytesPerSecond } = options;
    const onEvent = (event: FetchEvent) => events.push(event);
    return from.fetchFile({ repo: REPO, file, target, bytesPerSecond }, { signal, onEvent });
  };
  const partial = partialPathOf('x+y.gguf', FILE);
  const onDisk = () => readdir(join(folder, 'hf'));
  const isComplete = async () => (await readFile(target)).equals(BYTES);
  const fail = (fault: Fault & { on?: 'listing' | 'resolve' | 'content'; times?: number }) => server.faults.push(fault);

  describe('lists files', () => {
    it('of all pages, models only, with size and digest', async () => {
      await server.addRepo(REPO, {
        [PATH]: { bytes: BYTES },
        'a.gguf': { sparse: 5 },
        'b/c-00001-of-00002.gguf': { sparse: 6 },
        'small.GGUF': { bytes: Buffer.from('GGUF'), lfs: false },
        'config.json': { bytes: Buffer.from('{}') },
      });
      const files = await hub.listFiles(REPO, forever);
      expect(files).toHaveLength(4);
      expect(files).toContainEqual(FILE);
      expect(files).toContainEqual({ path: 'small.GGUF', sizeBytes: 4, digest: undefined });
      expect(server.requests.length).toBeGreaterThan(2);
    });

    it.each<[string, Fault, object]>([
      [
        'a web page',
        { body: '<html>log in</html>', headers: { 'Content-Type': 'text/html' } },
        { code: 'DOWNLOAD_FAILED' },
      ],
      ['too many requests', { status: 429, headers: { 'Retry-After': '7' } }, { details: { retry_after_ms: 7000 } }],
      ['a server in trouble', { status: 503 }, { code: 'DOWNLOAD_FAILED', retryable: true }],
      [
        'a broken connection',
        { reset: true },
        { code: 'DOWNLOAD_FAILED', details: { reason: 'the connection broke' } },
      ],
      ['a redirect to itself', { redirectToItself: true }, { details: { reason: 'too many redirects' } }],
    ])('or says why not: %s', async (_, fault, expected) => {
      fail({ on: 'listing', ...fault });
      await expect(hub.listFiles(REPO, forever)).rejects.toMatchObject(expected);
    });

    it('or says that there is no such model', async () => {
      await expect(hub.listFiles('acme/none', forever)).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    });

    it('in limited time, and not any longer than somebody waits', async () => {
      fail({ on: 'listing', silent: true });
      const impatient = withOptions({ silenceMs: 50 });
      await expect(impatient.listFiles(REPO, forever)).rejects.toMatchObject({
        code: 'DOWNLOAD_FAILED',
        details: { reason: 'no complete answer in time' },
      });
      await impatient.close();
      const stop = new AbortController();
      const listing = hub.listFiles(REPO, stop.signal);
      stop.abort(new Error('not any more'));
      await expect(listing).rejects.toThrow('not any more');
    });

    it('says that nobody listens', async () => {
      await hub.close();
      const { endpoint } = server;
      await server.close();
      hub = withOptions({ endpoint });
      await expect(hub.listFiles(REPO, forever)).rejects.toMatchObject({
        code: 'DOWNLOAD_FAILED',
        message: expect.stringContaining('connection refused'),
        suggestion: expect.stringContaining('HF_ENDPOINT'),
      });
    });
  });

  describe('shows its token', () => {
    it('to the hub and not to the host of the content', async () => {
      await server.addRepo(REPO, { [PATH]: { bytes: BYTES } }, { gated: 'hf_right' });
      await expect(hub.listFiles(REPO, forever)).rejects.toMatchObject({
        code: 'MODEL_ACCESS_DENIED',
        details: { gated: true },
        suggestion: expect.stringContaining('HF_TOKEN'),
      });
      await expect(fetchFile().done).rejects.toMatchObject({ code: 'MODEL_ACCESS_DENIED' });
      const allowed = withOptions({ token: 'hf_right' });
      server.clearLog();
      await expect(allowed.listFiles(REPO, forever)).resolves.toEqual([FILE]);
      await fetchFile({ from: allowed }).done;
      await allowed.close();
      expect(server.requests.map(({ kind, authorization }) => [kind, authorization])).toEqual([
        ['listing', true],
        ['resolve', true],
        ['content', false],
      ]);
    });

    it('in no error', async () => {
      const wrong = withOptions({ token: 'hf_wrongSecret' });
      await server.addRepo(REPO, {}, { gated: 'hf_right' });
      const error = await wrong.listFiles(REPO, forever).catch((error: unknown) => error);
      await wrong.close();
      expect(error).toMatchObject({ code: 'MODEL_ACCESS_DENIED' });
      expect(JSON.stringify({ ...(error as object), message: String(error) })).not.toContain('hf_wrongSecret');
    });
  });

  describe('fetches a file', () => {
    it('in one go, and tells how it goes on', async () => {
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
      expect(await onDisk()).toEqual(['x+y.gguf']);
      expect(events.at(0)).toEqual({ type: 'offset', offset: 0 });
      expect(events.slice(-2)).toEqual([{ type: 'offset', offset: BYTES.length }, { type: 'verifying' }]);
      expect(server.contentRequests(PATH)).toMatchObject([{ status: 200 }]);
    });

    it('going on from what an earlier attempt has left', async () => {
      fail({ cutAfter: 1_000_000, times: 1 });
      await expect(fetchFile().done).rejects.toMatchObject({
        code: 'DOWNLOAD_FAILED',
        retryable: true,
        details: { reason: 'the connection broke' },
      });
      expect(await onDisk()).toEqual([partial]);
      const { length } = await readFile(join(folder, 'hf', partial));
      expect(length).toBeGreaterThan(500_000);
      events = [];
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
      expect(events[0]).toEqual({ type: 'offset', offset: length });
      expect(server.contentRequests(PATH)[1]).toMatchObject({ status: 206, range: `bytes=${length}-` });
    });

    const leave = async (bytes: number) => {
      fail({ cutAfter: bytes, times: 1 });
      await expect(fetchFile().done).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' });
      events = [];
    };

    it('anew when the server serves no ranges', async () => {
      await leave(1_000_000);
      fail({ ignoreRange: true });
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
      expect(events[1]).toEqual({ type: 'offset', offset: 0 });
    });

    it('anew when the server has no such range', async () => {
      await leave(1_000_000);
      fail({ status: 416, times: 1 });
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
      expect(server.contentRequests(PATH).at(-1)).toMatchObject({ status: 200, range: undefined });
    });

    it('without any request when all bytes are there', async () => {
      await leave(1_000_000);
      await writeFile(join(folder, 'hf', partial), BYTES);
      server.clearLog();
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
      expect(server.requests).toEqual([]);
    });

    it('through a new link when the old one has expired', async () => {
      server.faults.push({ status: 403, times: 1 });
      await expect(fetchFile().done).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', retryable: true });
      await fetchFile().done;
      expect(await isComplete()).toBe(true);
    });

    it.each<[string, Fault & { on?: 'resolve' | 'content' }, object]>([
      ['other bytes', { corruptAt: 5 }, { code: 'CHECKSUM_MISMATCH', retryable: true }],
      [
        'a web page',
        { body: '<html>', headers: { 'Content-Type': 'text/html' } },
        { details: { reason: 'a web page instead of the file' } },
      ],
      ['another part', { wrongStart: 7 }, { details: { reason: 'another part of the file than was asked for' } }],
      ['another size', { size: 3_000_001 }, { code: 'DOWNLOAD_FAILED', details: { changed: true } }],
      ['another size at the hub', { on: 'resolve', size: 5 }, { code: 'DOWNLOAD_FAILED', details: { changed: true } }],
      ['an error', { status: 500 }, { code: 'DOWNLOAD_FAILED', details: { http_status: 500 } }],
      [
        'too many requests',
        { on: 'resolve', status: 429, headers: { 'Retry-After': '2' } },
        { details: { retry_after_ms: 2000 } },
      ],
      [
        'a redirect to itself',
        { on: 'resolve', redirectToItself: true },
        { details: { reason: 'too many redirects' } },
      ],
      [
        'an unsafe redirect',
        { on: 'resolve', status: 302, headers: { Location: 'file:///etc/passwd' } },
        { message: expect.stringContaining('not safe') },
      ],
      ['a reset', { reset: true }, { details: { reason: 'the connection broke' } }],
      ['no model', { on: 'resolve', status: 404 }, { code: 'MODEL_NOT_FOUND', retryable: false }],
    ])('or says what came instead, and leaves no wrong file: %s', async (_, fault, expected) => {
      fail(fault);
      await expect(fetchFile().done).rejects.toMatchObject(expected);
      expect((await onDisk()).filter((name) => name !== partial)).toEqual([]);
    });

    it('not when it has become another one since it was listed', async () => {
      const file = { ...FILE, digest: 'a'.repeat(64) };
      await expect(fetchFile({ file }).done).rejects.toMatchObject({ details: { changed: true } });
      expect(events).toEqual([{ type: 'offset', offset: 0 }]);
    });

    it('not from a server that falls silent', async () => {
      fail({ stallAfter: 100_000 });
      const impatient = withOptions({ silenceMs: 100 });
      await expect(fetchFile({ from: impatient }).done).rejects.toMatchObject({
        code: 'DOWNLOAD_FAILED',
        details: { reason: 'no more bytes came' },
      });
      await impatient.close();
      expect(await onDisk()).toEqual([partial]);
    });

    it('telling how far it came before it broke off', async () => {
      fail({ cutAfter: 2_000_000 });
      await expect(fetchFile().done).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED' });
      expect(events.at(-1)).toEqual({ type: 'offset', offset: (await stat(join(folder, 'hf', partial))).size });
    });

    it('telling how far it has come while nothing more comes', async () => {
      fail({ stallAfter: 2_000_000 });
      const stop = new AbortController();
      const { done } = fetchFile({ signal: stop.signal });
      const isTold = () => events.some((event) => event.type === 'offset' && event.offset === 2_000_000);
      while (!isTold()) await sleep(systemClock, 10);
      stop.abort(new Error('enough'));
      await expect(done).rejects.toThrow('enough');
    });

    it('no longer than somebody waits, and keeps what has come', async () => {
      const reached = server.pauseAt(PATH, 1_000_000);
      const stop = new AbortController();
      const { done } = fetchFile({ signal: stop.signal });
      await reached;
      while (!events.some((event) => event.type === 'offset' && event.offset > 0)) await sleep(systemClock, 10);
      stop.abort(new Error('not any more'));
      await expect(done).rejects.toThrow('not any more');
      expect(await onDisk()).toEqual([partial]);
    });

    it('at the speed it may, which may change', async () => {
      const slow = fetchFile({ bytesPerSecond: 400_000 });
      await new Promise((resolve) => setTimeout(resolve, 700));
      const seen = events.flatMap((event) => (event.type === 'offset' ? [event.offset] : []));
      expect(seen.at(-1)).toBeGreaterThan(100_000);
      expect(seen.at(-1)).toBeLessThan(400_000);
      slow.limit(undefined);
      await slow.done;
      expect(await isComplete()).toBe(true);
    });
  });
});
