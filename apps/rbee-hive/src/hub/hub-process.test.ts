import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, processEnvironment, Secret, systemClock } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { startTestHub, type TestHub } from '@rbee/fixtures';
import { READ_TYPESCRIPT } from '../../test/hive-program.js';
import type { FetchEvent, HubFile } from './hub.js';
import { HubProcess } from './hub-process.js';

const REPO = 'acme/tiny';
const BYTES = randomBytes(2_000_000);
const FILE: HubFile = {
  path: 'x.gguf',
  sizeBytes: BYTES.length,
  digest: createHash('sha256').update(BYTES).digest('hex'),
};
const CLIENT = { path: fileURLToPath(new URL('./hub-client.ts', import.meta.url)), nodeArguments: READ_TYPESCRIPT };
const forever = new AbortController().signal;

/** Pids of the children of this process that run one of these programs. */
async function clientsOf(path: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const read = (pid: string, name: string) => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
  const found = await Promise.all(
    pids.map(async (pid) => {
      const isMine = (await read(pid, 'status')).includes(`PPid:\t${process.pid}\n`);
      return isMine && (await read(pid, 'cmdline')).split('\0').includes(path);
    }),
  );
  return pids.filter((_, index) => found[index]).map(Number);
}

describe('the hub in a process of its own', () => {
  let folder: string;
  let target: string;
  let server: TestHub;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbee-hub-'));
    target = join(folder, 'hf', 'x.gguf');
    server = await startTestHub();
    await server.addRepo(REPO, { 'x.gguf': { bytes: BYTES } });
  });
  afterEach(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  const start = (
    options: { path?: string; script?: string; token?: string; variables?: Record<string, string>; clock?: Clock } = {},
  ) => {
    const { path = CLIENT.path, script, token, variables, clock = systemClock } = options;
    const { PATH } = processEnvironment().variables;
    return new HubProcess({
      hub: {
        endpoint: server.endpoint,
        tokenFile: join(folder, 'token'),
        token: token ? new Secret(token) : undefined,
      },
      program: script === undefined ? { ...CLIENT, path } : { path: script },
      clock,
      silenceMs: 20_000,
      variables: { PATH, ...variables },
    });
  };
  /** A client that does something else. */
  const scripted = async (code: string, clock?: Clock) => {
    const script = join(folder, 'client.mjs');
    await writeFile(script, code);
    return start({ script, ...(clock && { clock }) });
  };
  const fetchFrom = (hub: HubProcess, options: { signal?: AbortSignal; bytesPerSecond?: number } = {}) => {
    const events: FetchEvent[] = [];
    const onEvent = (event: FetchEvent) => events.push(event);
    const job = { repo: REPO, file: FILE, target, bytesPerSecond: options.bytesPerSecond };
    return { ...hub.fetchFile(job, { signal: options.signal ?? forever, onEvent }), events };
  };

  it('lists files, with a token that is on no command line and in no environment', async () => {
    await server.addRepo(REPO, { 'x.gguf': { bytes: BYTES } }, { gated: 'hf_right' });
    server.faults.push({ on: 'listing', silent: true, times: 1 });
    const stop = new AbortController();
    const variables = { HF_TOKEN: 'hf_right', CREDENTIALS_DIRECTORY: '/run/of-hive', RBEE_HIVE_TOKEN_FILE: '/of-hive' };
    const hub = start({ token: 'hf_right', variables });
    const held = hub.listFiles(REPO, stop.signal);
    while (server.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const [pid] = await clientsOf(CLIENT.path);
    for (const file of ['cmdline', 'environ']) {
      expect(await readFile(`/proc/${pid}/${file}`, 'utf8')).not.toMatch(/hf_right|of-hive/);
    }
    stop.abort(new Error('not any more'));
    await expect(held).rejects.toThrow('not any more');
    expect(await clientsOf(CLIENT.path)).toEqual([]);
    await expect(hub.listFiles(REPO, forever)).resolves.toEqual([FILE]);
  });

  it('fetches a file and leaves no process', async () => {
    const { done, events } = fetchFrom(start());
    await done;
    expect((await readFile(target)).equals(BYTES)).toBe(true);
    expect(events.at(-1)).toEqual({ type: 'verifying' });
    expect(await clientsOf(CLIENT.path)).toEqual([]);
  });

  it('passes errors on as they are', async () => {
    await expect(start().listFiles('acme/none', forever)).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      retryable: false,
      details: { model: 'hf:acme/none' },
      suggestion: expect.stringContaining('check the spelling'),
    });
  });

  it('goes through the proxy that the environment names', async () => {
    const proxied: string[] = [];
    const proxy = createServer().on('connect', (request, client) => {
      proxied.push(request.url ?? '');
      const [host, port] = (request.url ?? '').split(':');
      const upstream = connect(Number(port), host, () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
      upstream.pipe(client).pipe(upstream);
      client.on('error', () => upstream.destroy());
    });
    await once(proxy.listen(0, '127.0.0.1'), 'listening');
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await expect(start({ variables: { http_proxy: address } }).listFiles(REPO, forever)).resolves.toEqual([FILE]);
    expect(proxied).toEqual([new URL(server.endpoint).host]);
    proxy.close();
  });

  it('is slower or faster as it is told, also before it runs', async () => {
    const { done, limit, events } = fetchFrom(start(), { bytesPerSecond: 1 });
    limit(200_000);
    while (!events.some((event) => event.type === 'offset' && event.offset > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(events.at(-1)).toMatchObject({ offset: expect.any(Number) });
    limit(undefined);
    await done;
    expect((await readFile(target)).equals(BYTES)).toBe(true);
  });

  it('ends at once when nobody wants it any more, and keeps what has come', async () => {
    const reached = server.pauseAt('x.gguf', 1_000_000);
    const stop = new AbortController();
    const { done, events } = fetchFrom(start(), { signal: stop.signal });
    await reached;
    while (!events.some((event) => event.type === 'offset' && event.offset > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const begun = performance.now();
    stop.abort(new Error('not any more'));
    await expect(done).rejects.toThrow('not any more');
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect(await readdir(join(folder, 'hf'))).toEqual([expect.stringMatching(/\.partial$/)]);
    expect(await clientsOf(CLIENT.path)).toEqual([]);
  });

  it('fails when its process is killed', async () => {
    const reached = server.pauseAt('x.gguf', 1_000_000);
    const { done } = fetchFrom(start());
    await reached;
    for (const pid of await clientsOf(CLIENT.path)) process.kill(pid, 'SIGKILL');
    await expect(done).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      message: expect.stringContaining('was ended by SIGKILL'),
    });
  });

  it('fails with what its process said last', async () => {
    const hub = await scripted(`console.error('token=hf_abcdefghijkl'); throw new Error('no such luck')`);
    const failed = hub.listFiles(REPO, forever);
    await expect(failed).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      message: 'the process that fetches from the hub ended with code 1: Error: no such luck',
      cause: expect.objectContaining({ message: expect.stringContaining('token=[REDACTED]') }),
    });
  });

  it('hides the token in what its process said', async () => {
    const script = join(folder, 'client.mjs');
    await writeFile(script, `console.error('the hub knows no plain-words-of-a-token'); process.exitCode = 1;`);
    const failed = start({ script, token: 'plain-words-of-a-token' }).listFiles(REPO, forever);
    await expect(failed).rejects.toThrow(/ended with code 1: the hub knows no \[REDACTED\]$/);
  });

  it('fails when there is no client', async () => {
    const hub = start({ script: join(folder, 'none.js') });
    await expect(hub.listFiles(REPO, forever)).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', retryable: true });
  });

  it('kills a process that does not end', async () => {
    const hub = await scripted(`
      process.on('SIGTERM', () => undefined);
      setInterval(() => undefined, 1000);
      process.stdin.once('data', () => console.log(JSON.stringify({ result: { files: [] } })));
    `);
    await expect(hub.listFiles(REPO, forever)).resolves.toEqual([]);
    expect(await clientsOf(join(folder, 'client.mjs'))).toEqual([]);
  });

  it('does not wait for ever for a list', async () => {
    const clock = new ManualClock();
    const hub = await scripted(`process.on('SIGTERM', () => undefined); process.stdin.resume();`, clock);
    const failed = expect(hub.listFiles(REPO, forever)).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      message: expect.stringContaining('was ended by SIGKILL'),
    });
    while (clock.pending === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await clock.advance(30_000);
    await failed;
    expect(clock.pending).toBe(0);
  });

  it('does nothing when nobody wants it from the beginning', async () => {
    const signal = AbortSignal.abort(new Error('too late'));
    await expect(start().listFiles(REPO, signal)).rejects.toThrow('too late');
    await expect(fetchFrom(start(), { signal }).done).rejects.toThrow('too late');
    expect(server.requests).toEqual([]);
  });
});
