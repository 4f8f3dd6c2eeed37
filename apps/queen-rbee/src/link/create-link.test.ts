import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  callJson,
  DEFAULT_TIMEOUTS,
  type Listening,
  listen,
  Secret,
  type Spoken,
  serve,
  silentLogger,
  systemClock,
} from '@rbee/daemon-kit';
import { hiveRoutes, VERSION } from '@rbee/protocol';
import type { NodeRecord } from '../registry/node-record.js';
import { makeNodeRecord } from '../registry/testing/make-node-record.js';
import { findFreePort } from '../ssh/testing/ssh-server.js';
import { createLink, type LinkParts } from './create-link.js';
import type { Link } from './link.js';
import { MockSshSession } from './mock-ssh-session.js';

const base = makeNodeRecord({ name: 'gpu-box' });
const overSsh = (host: string) =>
  makeNodeRecord({ ...base, ssh: { host, port: undefined, user: undefined, keyPath: undefined } });

describe('createLink', () => {
  let folder: string;
  let tokenFile: string;
  let hive: Listening;
  let said: Spoken[];
  const links: Link[] = [];
  const narrate = (spoken: Spoken) => void said.push(spoken);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'create-link-'));
    tokenFile = join(folder, 'key');
    writeFileSync(tokenFile, 'right\n', { mode: 0o600 });
    said = [];
    const handlers = {
      health: async () => ({ status: 'alive', version: VERSION, api_version: 'v1', pid: 7 }),
      listWorkers: async () => ({ workers: [] }),
    };
    const options = { clock: systemClock, log: silentLogger, key: new Secret('right') };
    const app = serve(hiveRoutes, handlers as unknown as Parameters<typeof serve<typeof hiveRoutes>>[1], options);
    hive = await listen('rbee-hive', app, { host: '127.0.0.1', port: 0 });
  });
  afterEach(async () => {
    for (const link of links.splice(0)) await link.close();
    await hive.close(0);
    rmSync(folder, { recursive: true, force: true });
  });

  const build = (record: NodeRecord, more: Partial<LinkParts> = {}): Link => {
    const parts: LinkParts = {
      clock: systemClock,
      log: silentLogger,
      timeouts: DEFAULT_TIMEOUTS,
      variables: { ...process.env, RBEE_NO_JITTER: '1', RBEE_NO_RETRY: '1' },
      createSession: (_node, address) =>
        new MockSshSession({ address, clock: systemClock, timeouts: DEFAULT_TIMEOUTS, variables: parts.variables }),
      onOwned: () => undefined,
      binaryPath: undefined,
      ...more,
    };
    const link = createLink(record, parts);
    links.push(link);
    return link;
  };
  const direct = (url: string): NodeRecord => ({ ...base, direct: { url, tokenFile } });

  it('makes a direct link that shows the key of its file, read anew when it was rejected', async () => {
    const link = build(direct(hive.url));
    expect(link.kind).toBe('direct');
    expect(await link.findHive()).toMatchObject({ pid: 7 });
    expect(await callJson(link.hive, hiveRoutes.listWorkers)).toEqual({ workers: [] });
    writeFileSync(tokenFile, 'wrong\n');
    link.reset();
    await expect(callJson(link.hive, hiveRoutes.listWorkers)).rejects.toMatchObject({ code: 'INVALID_API_KEY' });
    writeFileSync(tokenFile, 'right\n');
    expect(await callJson(link.hive, hiveRoutes.listWorkers)).toEqual({ workers: [] });
    expect(await link.stopHive(narrate)).toBe(false);
  });

  it('says what is wrong with the key file when it is used', async () => {
    rmSync(tokenFile);
    await expect(build(direct(hive.url)).findHive()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('ENOENT'),
    });
  });

  it('reaches a worker that names its own loopback address where the hive is', () => {
    const link = build(direct('http://gpu-box.lan:9200'));
    const urlOf = (url: string) => link.workerAt(url).transport.peer.url;
    for (const host of ['127.0.0.1', 'localhost', '0.0.0.0', '[::1]', '[::]']) {
      expect(urlOf(`http://${host}:8001`)).toBe('http://gpu-box.lan:8001');
    }
    expect(urlOf('http://192.0.2.9:8002')).toBe('http://192.0.2.9:8002');
    expect(link.workerAt('http://127.0.0.1:8001').transport).toBe(link.workerAt('http://localhost:8001').transport);
  });

  it('takes the loopback address of a worker as it is where the hive is on this machine', () => {
    const link = build(direct('http://127.0.0.2:9200'));
    expect(link.workerAt('http://127.0.0.1:8001').transport.peer.url).toBe('http://127.0.0.1:8001');
    expect(link.workerAt('http://127.0.0.2:8001').transport.peer.url).toBe('http://127.0.0.2:8001');
  });

  it('cannot start a hive over a direct link: it looks a few times, tells each, and gives advice', async () => {
    const port = await findFreePort();
    const link = build(direct(`http://127.0.0.1:${port}`), { variables: { RBEE_NO_JITTER: '1' } });
    expect(await link.findHive()).toBeUndefined();
    await expect(link.startHive(narrate)).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      details: { node: 'gpu-box', host: '127.0.0.1', port, attempts: 3, cause: 'ECONNREFUSED' },
      suggestion: 'check that the hive runs: rbee-keeper hive status --node gpu-box',
    });
    expect(said.map(({ human }) => human)).toEqual([
      `asking the hive at 127.0.0.1, port ${port} (attempt 1/3, timeout 10 s)`,
      `attempt 2/3 after 200 ms: 127.0.0.1, port ${port}, timeout 10 s: refused`,
      `attempt 3/3 after 400 ms: 127.0.0.1, port ${port}, timeout 10 s: refused`,
    ]);
  });

  it('makes an SSH link without connecting', async () => {
    const link = build({ ...overSsh('gpu-box.lan'), ownedHive: { pid: 7, startTime: '1' } });
    expect(link).toMatchObject({ kind: 'ssh', node: 'gpu-box', ownsHive: true });
    expect(link.hive.transport.peer.url).toBe('http://127.0.0.1:9200');
  });

  it('simulates SSH where that is wanted', async () => {
    const mockHive = { url: hive.url, readKey: () => new Secret('right') };
    const link = build(overSsh('gpu-box.lan'), { mockHive });
    await link.reach(narrate);
    expect(said).toEqual([
      expect.objectContaining({ action: 'ssh_check', human: 'checking SSH access to gpu-box.lan' }),
    ]);
    expect(link.kind).toBe('ssh');
    expect(await callJson(link.hive, hiveRoutes.listWorkers)).toEqual({ workers: [] });
    const unreachable = build(overSsh('unreachable.example'), { mockHive, variables: { RBEE_NO_JITTER: '1' } });
    await expect(unreachable.reach(narrate)).rejects.toMatchObject({
      code: 'SSH_CONNECTION_TIMEOUT',
      details: { host: 'unreachable.example', port: 22, attempts: 3, timeout_ms: 10_000 },
    });
    expect(said.slice(-2).map(({ human }) => human)).toEqual([
      expect.stringMatching(/^attempt 2\/3 after 200 ms: timed out/),
      expect.stringMatching(/^attempt 3\/3 after 400 ms: timed out/),
    ]);
  });

  it('runs the commands of a simulated connection on this machine', async () => {
    const { ssh: address } = overSsh('gpu-box.lan');
    if (!address) throw new Error('the record has no address');
    const session = new MockSshSession({
      address,
      clock: systemClock,
      timeouts: DEFAULT_TIMEOUTS,
      variables: { PATH: '/usr/bin:/bin' },
    });
    const lines: string[] = [];
    const onLine = (line: string) => void lines.push(line);
    const result = await session.run('echo "$2"; echo "$1" >&2; exit 3', ["it's", '$(id)'], {
      timeoutMs: 5000,
      onLine,
    });
    expect(result).toEqual({ code: 3, stdout: '$(id)\n', stderr: "it's\n" });
    expect(lines).toEqual(['$(id)', "it's"]);
    await expect(session.run('sleep 60', [], { timeoutMs: 50 })).rejects.toMatchObject({ code: 'SSH_COMMAND_FAILED' });
    const abort = new AbortController();
    const running = session.run('sleep 60', [], { timeoutMs: 5000, signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
  });

  it('refuses a record without an address', () => {
    expect(() => build(base)).toThrow(expect.objectContaining({ code: 'REGISTRY_ERROR' }));
  });
});
