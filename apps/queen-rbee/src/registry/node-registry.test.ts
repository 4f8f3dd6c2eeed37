import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import Database from 'better-sqlite3';
import type { NodeRecord } from './node-record.js';
import { NodeRegistry } from './node-registry.js';

const workstation: NodeRecord = {
  name: 'workstation',
  ssh: { host: 'workstation.home.arpa', port: 2222, user: 'user', keyPath: '/home/me/.ssh/id_ed25519' },
  direct: undefined,
  hostKeys: { '[gate]:22': 'ssh-ed25519 AAAA', '[workstation.home.arpa]:2222': 'ssh-ed25519 BBBB' },
  gitRepoUrl: 'https://git.example/rbee.git',
  gitBranch: 'main',
  installPath: '/home/user/rbee',
  nodePath: '/usr/bin/node',
  hivePort: 9300,
  backends: ['cpu', 'cuda'],
  devices: { cpu: 1, cuda: 2 },
  status: 'reachable',
  lastConnectedUnix: 1_900_000_000,
  lastError: 'a "quoted" reason;\n-- with two lines',
  ownedHive: { pid: 4711, startTime: 'Tue 08:00' },
};
/** Everything that may be missing is missing. */
const bare: NodeRecord = {
  name: 'bare',
  ssh: { host: 'bare', port: undefined, user: undefined, keyPath: undefined },
  direct: undefined,
  hostKeys: {},
  gitRepoUrl: undefined,
  gitBranch: 'main',
  installPath: '/root/rbee',
  nodePath: undefined,
  hivePort: 9200,
  backends: ['cpu'],
  devices: {},
  status: 'unknown',
  lastConnectedUnix: undefined,
  lastError: undefined,
  ownedHive: undefined,
};
const direct: NodeRecord = {
  ...bare,
  name: 'direct',
  ssh: undefined,
  direct: { url: 'http://10.0.0.2:9200', tokenFile: '/etc/rbee/key' },
};

let folder: string;
let file: string;
let clock: ManualClock;
let registry: NodeRegistry;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-registry-'));
  file = join(folder, 'state', 'beehives.db');
  clock = new ManualClock();
  registry = NodeRegistry.open({ file, clock, log: silentLogger });
});

afterEach(async () => {
  await registry.close();
  await rm(folder, { recursive: true });
});

async function reopen(): Promise<void> {
  await registry.close();
  registry = NodeRegistry.open({ file, clock, log: silentLogger });
}

it('stores what was begun before it is closed', async () => {
  await registry.add(workstation);
  const update = registry.update('workstation', { ownedHive: undefined });
  await registry.close();
  await expect(update).resolves.toMatchObject({ ownedHive: undefined });
  await reopen();
  await expect(registry.get('workstation')).resolves.toMatchObject({ ownedHive: undefined });
});

it('keeps every field over a restart, and lists by name', async () => {
  for (const record of [workstation, direct, bare]) await registry.add(record);
  await reopen();
  await expect(registry.list()).resolves.toEqual([bare, direct, workstation]);
  await expect(registry.get('workstation')).resolves.toEqual(workstation);
  await expect(registry.get('nobody')).resolves.toBeUndefined();
  // The node's own key is known by its place, the last one.
  expect(Object.keys((await registry.require('workstation')).hostKeys)).toEqual(Object.keys(workstation.hostKeys));
});

it('has the columns that the contract names, for the user alone', async () => {
  await registry.add(workstation);
  const reader = new Database(file, { readonly: true });
  const row = reader.prepare('select * from beehives').get();
  reader.close();
  expect(row).toEqual({
    node_name: 'workstation',
    ssh_host: 'workstation.home.arpa',
    ssh_port: 2222,
    ssh_user: 'user',
    ssh_key_path: '/home/me/.ssh/id_ed25519',
    git_repo_url: 'https://git.example/rbee.git',
    git_branch: 'main',
    install_path: '/home/user/rbee',
    last_connected_unix: 1_900_000_000,
    last_error: workstation.lastError,
    status: 'reachable',
    backends: '["cpu","cuda"]',
    devices: '{"cpu":1,"cuda":2}',
    host_keys: JSON.stringify(workstation.hostKeys),
    node_path: '/usr/bin/node',
    hive_port: 9300,
    hive_url: null,
    hive_token_file: null,
    owned_pid: 4711,
    owned_start_time: 'Tue 08:00',
  });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('makes no file as long as nothing is added', async () => {
  await expect(registry.list()).resolves.toEqual([]);
  await expect(registry.get('nobody')).resolves.toBeUndefined();
  await expect(registry.require('nobody')).rejects.toMatchObject({ details: { known: ['localhost'] } });
  await expect(stat(join(folder, 'state'))).rejects.toMatchObject({ code: 'ENOENT' });
});

it('takes a name once, also when several come at the same time', async () => {
  const twin = { ...workstation, hivePort: 1234 };
  const results = await Promise.allSettled([registry.add(workstation), registry.add(twin), registry.add(bare)]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  await expect(registry.add(twin)).rejects.toMatchObject({
    code: 'NODE_ALREADY_EXISTS',
    details: { node: 'workstation' },
    suggestion: expect.stringMatching(/setup update-node --name workstation.*setup remove-node --name workstation/),
  });
  await expect(registry.get('workstation')).resolves.toEqual(workstation);
});

describe('a change', () => {
  it('leaves what it does not name, clears what it names as undefined, and gives the new record', async () => {
    await registry.add(workstation);
    const changed = { ...workstation, status: 'unreachable', lastError: 'timed out', ownedHive: undefined } as const;
    const changes = { status: 'unreachable', lastError: 'timed out', ownedHive: undefined } as const;
    await expect(registry.update('workstation', changes)).resolves.toEqual(changed);
    await expect(registry.get('workstation')).resolves.toEqual(changed);
  });

  it('loses nothing of another one at the same time', async () => {
    await registry.add(workstation);
    await Promise.all([
      registry.update('workstation', { status: 'unreachable' }),
      registry.update('workstation', { ownedHive: { pid: 1, startTime: 'x' } }),
      registry.update('workstation', { gitBranch: 'next' }),
    ]);
    await expect(registry.get('workstation')).resolves.toEqual({
      ...workstation,
      status: 'unreachable',
      ownedHive: { pid: 1, startTime: 'x' },
      gitBranch: 'next',
    });
  });

  it('keeps the name, and goes to one node only', async () => {
    await registry.add(workstation);
    await registry.add(bare);
    await registry.update('bare', { ...direct });
    expect((await registry.list()).map(({ name }) => name)).toEqual(['bare', 'workstation']);
    await expect(registry.get('bare')).resolves.toEqual({ ...direct, name: 'bare' });
  });
});

it.each([
  ['update', 'setup add-node', () => registry.update('nobody', { status: 'reachable' })],
  ['remove', 'setup list-nodes', () => registry.remove('nobody')],
  ['require', 'setup add-node', () => registry.require('nobody')],
])('says which nodes there are when %s is asked for an unknown one', async (_what, command, ask) => {
  await registry.add(workstation);
  await expect(ask()).rejects.toMatchObject({
    code: 'NODE_NOT_FOUND',
    details: { node: 'nobody', known: ['localhost', 'workstation'] },
    suggestion: expect.stringContaining(`rbee-keeper ${command}`),
  });
  expect(await registry.list()).toEqual([workstation]);
});

it('forgets what was removed', async () => {
  await registry.add(workstation);
  await registry.add(bare);
  await registry.remove('workstation');
  await expect(registry.list()).resolves.toEqual([bare]);
  await registry.add(workstation);
});

describe('hostile values', () => {
  it.each(["'; drop table beehives; --", '%', '_', '$(id)', 'a\u0000b', '\u202e', '"', '{"a":1}'])(
    'are only values: %j',
    async (text) => {
      const record = {
        ...workstation,
        name: text,
        ssh: { host: text, port: 1, user: text, keyPath: text },
        hostKeys: { [text]: text },
        gitRepoUrl: text,
        lastError: text,
      };
      await registry.add(bare);
      await registry.add(record);
      await expect(registry.get(text)).resolves.toEqual(record);
      await registry.update(text, { gitBranch: text });
      await registry.remove(text);
      await expect(registry.list()).resolves.toEqual([bare]);
    },
  );

  it('do not reach the prototype by way of the host keys', async () => {
    const hostKeys = JSON.parse('{"__proto__": "ssh-ed25519 AAAA"}') as Record<string, string>;
    await registry.add({ ...workstation, hostKeys });
    const stored = await registry.require('workstation');
    expect(Object.entries(stored.hostKeys)).toEqual([['__proto__', 'ssh-ed25519 AAAA']]);
    expect(({} as Record<string, unknown>)['ssh-ed25519 AAAA']).toBeUndefined();
  });
});

/** Writes into the file as somebody else would. */
function tamper(statement: string): void {
  const writer = new Database(file);
  writer.exec(statement);
  writer.close();
}

describe('a row that somebody else has changed', () => {
  it.each([
    ['host_keys', '[]'],
    ['host_keys', '{"[host]:22":1}'],
    ['backends', '["abacus"]'],
    ['devices', '{"cpu":"many"}'],
    ['devices', '"cpu"'],
  ])('is refused when its %s are %s, and can be removed', async (column, value) => {
    await registry.add(workstation);
    await registry.add(bare);
    tamper(`update beehives set ${column} = '${value}' where node_name = 'workstation'`);
    for (const read of [registry.list(), registry.get('workstation'), registry.update('workstation', {})]) {
      await expect(read).rejects.toMatchObject({
        code: 'REGISTRY_ERROR',
        details: { node: 'workstation', column },
        suggestion: expect.stringContaining('remove-node --name workstation'),
      });
    }
    await registry.remove('workstation');
    await expect(registry.list()).resolves.toEqual([bare]);
  });

  it.each([
    "update beehives set backends = 'no json'",
    "update beehives set status = 'perhaps'",
    'update beehives set ssh_host = null',
    "update beehives set hive_url = 'http://a:1'",
    'update beehives set install_path = null',
  ])('cannot come about by: %s', async (statement) => {
    await registry.add(workstation);
    expect(() => tamper(statement)).toThrow(/constraint/);
    await expect(registry.list()).resolves.toEqual([workstation]);
  });
});

describe('a file that cannot be used', () => {
  it('is a REGISTRY_ERROR until it is whole again; nothing of it is overwritten', async () => {
    await registry.add(workstation);
    await registry.close();
    const whole = await readFile(file);
    const broken = Buffer.from(whole);
    broken.fill(0xee, 0, 4096);
    await writeFile(file, broken);
    await expect(registry.list()).rejects.toMatchObject({
      code: 'REGISTRY_ERROR',
      message: expect.stringContaining('SQLITE_NOTADB'),
      suggestion: expect.stringContaining('queen-rbee.log'),
      status: 500,
    });
    await expect(registry.add(bare)).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
    await expect(registry.remove('workstation')).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
    expect(await readFile(file)).toEqual(broken);
    await writeFile(file, whole);
    await clock.advance(5_000);
    await expect(registry.list()).resolves.toEqual([workstation]);
  });

  it('that is cut off is a REGISTRY_ERROR', async () => {
    await registry.add(workstation);
    await registry.close();
    await writeFile(file, (await readFile(file)).subarray(0, 5_000));
    await expect(registry.list()).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
  });

  it('because it may not be written is a REGISTRY_ERROR, and whole afterwards', async () => {
    await registry.add(workstation);
    await registry.close();
    await chmod(folder, 0o755);
    await chmod(join(folder, 'state'), 0o555);
    await chmod(file, 0o444);
    await asNobody(async () => {
      await expect(registry.add(bare)).rejects.toMatchObject({
        code: 'REGISTRY_ERROR',
        message: expect.stringMatching(/SQLITE_(READONLY|CANTOPEN)/),
      });
    });
    await chmod(join(folder, 'state'), 0o755);
    await chmod(file, 0o644);
    await clock.advance(5_000);
    await expect(registry.list()).resolves.toEqual([workstation]);
  });

  it('because its folder cannot be made is a REGISTRY_ERROR that does not tell the path', async () => {
    await writeFile(join(folder, 'state'), 'a file');
    const refused = registry.list();
    await expect(refused).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
    await expect(refused).rejects.not.toThrow(folder);
  });
});

/** Runs without the rights of root, which no permission holds up. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(65_534);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}
