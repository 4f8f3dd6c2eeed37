import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, type Narrate, type Spoken, silentLogger, sleep, systemClock } from '@rbee/daemon-kit';
import type { AddNode } from '@rbee/protocol';
import { NodeRegistry } from '../registry/node-registry.js';
import { toNodeRow } from '../registry/node-row.js';
import { SshSession } from '../ssh/ssh-session.js';
import { makeKey, type SshServer, startSshServer } from '../ssh/testing/ssh-server.js';
import { NodeAdmin } from './node-admin.js';

const folder = mkdtempSync(join(tmpdir(), 'rbee-admin-ssh-'));
const signal = new AbortController().signal;
let server: SshServer;
let registry: NodeRegistry;
let admin: NodeAdmin;
let said: Spoken[];
const narrate: Narrate = (spoken) => void said.push(spoken);

beforeAll(async () => {
  const setEnv = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` };
  server = await startSshServer({ home: join(folder, 'node home'), setEnv });
});

beforeEach(() => {
  said = [];
  registry = NodeRegistry.open({ file: join(folder, 'state/beehives.db'), clock: systemClock, log: silentLogger });
  const timeouts = { ...DEFAULT_TIMEOUTS, ssh_connect: 2_000 };
  const parts = { clock: systemClock, log: silentLogger, timeouts, variables: { PATH: '/usr/bin:/bin' } };
  admin = new NodeAdmin({
    ...parts,
    registry,
    createSession: (node, address, hostKeys, expectedFingerprint) =>
      new SshSession({
        ...parts,
        node,
        address,
        hostKeys: () => hostKeys,
        expectedFingerprint,
        home: join(folder, 'queen'),
        user: server.user,
      }),
    onChange: () => undefined,
  });
});

afterEach(async () => {
  await registry.close();
  rmSync(join(folder, 'state'), { recursive: true, force: true });
});

afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

const request = (): AddNode => ({
  node_name: 'workstation',
  ssh_host: server.host,
  ssh_port: server.port,
  ssh_user: server.user,
  ssh_key_path: server.keyPath,
});

it('saves a node with the key that it shows, its home folder and its Node.js', async () => {
  await expect(admin.add(request(), narrate, signal)).resolves.toMatchObject({
    success: true,
    host_key_fingerprint: server.hostKeyFingerprint,
  });
  // The connection is closed; sshd notices in its own time.
  while (server.sessions().length > 0) await sleep(systemClock, 10);
  const record = await registry.require('workstation');
  expect(record).toMatchObject({
    installPath: join(folder, 'node home/rbee'),
    nodePath: process.execPath,
    hostKeys: { [`[${server.host}]:${server.port}`]: server.hostKey },
    status: 'reachable',
  });
  expect(toNodeRow(record)).toMatchObject({ link: 'ssh', host_key_fingerprint: server.hostKeyFingerprint });
  expect(said.map(({ human }) => human)).toEqual([
    `checking SSH access to ${server.host}`,
    `its host key is pinned: ${server.hostKeyFingerprint}`,
    'rbee is not installed there: rbee-keeper setup install --node workstation',
    "SSH access works; node 'workstation' is saved",
  ]);
});

it('refuses a changed host key until its fingerprint is named', async () => {
  await admin.add(request(), narrate, signal);
  const before = await registry.require('workstation');
  const old = server.hostKeyFingerprint;
  await server.restartWithNewHostKey();
  const change = { node_name: 'workstation', git_branch: 'next' };
  await expect(admin.update(change, narrate, signal)).rejects.toMatchObject({
    code: 'SSH_HOST_KEY_CHANGED',
    details: { offered_fingerprint: server.hostKeyFingerprint, expected_fingerprint: old },
  });
  const wrong = { ...change, host_key_fingerprint: old };
  await expect(admin.update(wrong, narrate, signal)).rejects.toMatchObject({ code: 'SSH_HOST_KEY_CHANGED' });
  await expect(registry.get('workstation')).resolves.toEqual(before);
  await admin.update({ ...change, host_key_fingerprint: server.hostKeyFingerprint }, narrate, signal);
  await expect(registry.get('workstation')).resolves.toMatchObject({
    gitBranch: 'next',
    hostKeys: { [`[${server.host}]:${server.port}`]: server.hostKey },
  });
});

it('saves nothing when the machine shows another host key than the named one', async () => {
  const named = { ...request(), host_key_fingerprint: `SHA256:${'A'.repeat(43)}` };
  await expect(admin.add(named, narrate, signal)).rejects.toMatchObject({ code: 'SSH_HOST_KEY_CHANGED' });
  await expect(registry.list()).resolves.toEqual([]);
});

it('saves nothing when the machine forwards no connections', async () => {
  const closed = await startSshServer({ home: join(folder, 'closed'), options: ['AllowTcpForwarding=no'] });
  try {
    const body = { ...request(), ssh_port: closed.port, ssh_key_path: closed.keyPath };
    await expect(admin.add(body, narrate, signal)).rejects.toMatchObject({
      code: 'SSH_FORWARDING_DENIED',
      suggestion: expect.stringContaining('AllowTcpForwarding yes'),
    });
    await expect(registry.list()).resolves.toEqual([]);
  } finally {
    await closed.stop();
  }
});

it('saves nothing when the key is refused, or missing', async () => {
  const stranger = join(folder, 'stranger');
  makeKey(stranger);
  await expect(admin.add({ ...request(), ssh_key_path: stranger }, narrate, signal)).rejects.toMatchObject({
    code: 'SSH_AUTH_FAILED',
  });
  const missing = join(folder, 'missing');
  await expect(admin.add({ ...request(), ssh_key_path: missing }, narrate, signal)).rejects.toMatchObject({
    code: 'SSH_KEY_NOT_FOUND',
  });
  await expect(registry.list()).resolves.toEqual([]);
});

it('saves nothing when nothing listens, after three attempts that are told', async () => {
  await server.halt();
  try {
    await expect(admin.add(request(), narrate, signal)).rejects.toMatchObject({
      code: 'SSH_CONNECTION_TIMEOUT',
      details: { attempts: 3, cause: 'ECONNREFUSED' },
    });
  } finally {
    await server.restart();
  }
  expect(said.map(({ human }) => human)).toEqual([
    `checking SSH access to ${server.host}`,
    expect.stringMatching(/^attempt 2\/3 after 200 ms: the connection was refused/),
    expect.stringMatching(/^attempt 3\/3 after 400 ms: the connection was refused/),
  ]);
  await expect(registry.list()).resolves.toEqual([]);
});

it('saves nothing for a client that leaves while the machine does not answer', async () => {
  server.freeze();
  try {
    const abort = new AbortController();
    const added = admin.add(
      request(),
      (spoken) => {
        narrate(spoken);
        abort.abort(new Error('gone'));
      },
      abort.signal,
    );
    await expect(added).rejects.toThrow('gone');
  } finally {
    server.thaw();
  }
  await expect(registry.list()).resolves.toEqual([]);
});
