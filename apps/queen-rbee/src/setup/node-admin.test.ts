import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, type Narrate, type Spoken, silentLogger, systemClock } from '@rbee/daemon-kit';
import { type AddNode, RbeeError, SSH_FIELDS, VERSION } from '@rbee/protocol';
import type { RunOptions, RunResult } from '../machine/machine.js';
import type { NodeRecord } from '../registry/node-record.js';
import { NodeRegistry } from '../registry/node-registry.js';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import { LocalMachine } from '../ssh/testing/local-machine.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
import type { CheckSession } from './check-ssh-node.js';
import { NodeAdmin } from './node-admin.js';

const GITHUB = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
const GITHUB_FINGERPRINT = 'SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU';
const OTHER = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf';

/** A session without SSH: its commands run on this machine. */
class LocalSession extends LocalMachine implements CheckSession {
  seenHostKeys: HostKeys = {};
  closed = false;
  /** Answers a command in place of the shell. */
  onRun: (script: string) => RunResult | undefined = () => undefined;
  onConnect: (signal: AbortSignal | undefined) => Promise<void> = async () => undefined;
  showsHostKeys: HostKeys = { '[gate]:22': OTHER, '[host]:22': GITHUB };

  constructor(
    readonly address: SshAddress,
    readonly hostKeys: HostKeys,
    readonly expectedFingerprint: string | undefined,
    variables: Record<string, string>,
  ) {
    super({ variables });
  }

  async connect(narrate?: Narrate, signal?: AbortSignal): Promise<void> {
    const { host } = this.address;
    narrate?.({ actor: 'queen-rbee', action: 'ssh_check', target: host, human: `checking SSH access to ${host}` });
    await this.onConnect(signal);
    this.seenHostKeys = this.showsHostKeys;
  }

  override async run(script: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
    return this.onRun(script) ?? super.run(script, args, options);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

let folder: string;
let home: string;
let file: string;
let registry: NodeRegistry;
let admin: NodeAdmin;
let sessions: LocalSession[];
let prepare: (session: LocalSession) => void;
let changes: [string, NodeRecord | undefined][];
let said: Spoken[];
let environment: Record<string, string>;

const narrate: Narrate = (spoken) => void said.push(spoken);
const signal = new AbortController().signal;
const workstation: AddNode = { node_name: 'workstation', ssh_host: 'host' };
const humans = () => said.map(({ human }) => human);

function lastSession(): LocalSession {
  const last = sessions.at(-1);
  if (!last) throw new Error('there was no session');
  return last;
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-admin-'));
  home = join(folder, "o'hara home");
  mkdirSync(home);
  file = join(folder, 'beehives.db');
  environment = { HOME: home, PATH: `${dirname(process.execPath)}:/usr/bin:/bin` };
  [sessions, changes, said] = [[], [], []];
  prepare = () => undefined;
  registry = NodeRegistry.open({ file, clock: systemClock, log: silentLogger });
  admin = new NodeAdmin({
    registry,
    createSession: (_node, address, hostKeys, expected) => {
      const made = new LocalSession(address, hostKeys, expected, environment);
      prepare(made);
      sessions.push(made);
      return made;
    },
    clock: systemClock,
    log: silentLogger,
    timeouts: { ...DEFAULT_TIMEOUTS, hive_connect: 1_000 },
    variables: { RBEE_NO_JITTER: '1' },
    onChange: (name, record) => void changes.push([name, record]),
  });
});

afterEach(async () => {
  expect(sessions.filter(({ closed }) => !closed)).toEqual([]);
  await registry.close();
  rmSync(folder, { recursive: true });
});

/** A hive's program in an install path, which answers `detect --json`. */
function installHive(root: string, answer: string, release = 'current/'): void {
  const bin = join(root, release, 'apps/rbee-hive/bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'rbee-hive.js'), `if (process.argv.slice(2).join(' ') === 'detect --json') ${answer}`);
}

async function expectNothingLeft(): Promise<void> {
  await expect(registry.list()).resolves.toEqual([]);
  expect(changes).toEqual([]);
}

describe('a node over SSH', () => {
  it('is saved with its defaults, its host key pinned and told, and a hint at what is missing', async () => {
    const before = Math.floor(Date.now() / 1000);
    await expect(admin.add(workstation, narrate, signal)).resolves.toEqual({
      success: true,
      message: "node 'workstation' is saved",
      node_name: 'workstation',
      host_key_fingerprint: GITHUB_FINGERPRINT,
    });
    const record = await registry.require('workstation');
    expect(record).toEqual({
      name: 'workstation',
      ssh: { host: 'host', port: undefined, user: undefined, keyPath: undefined },
      direct: undefined,
      hostKeys: { '[gate]:22': OTHER, '[host]:22': GITHUB },
      gitRepoUrl: undefined,
      gitBranch: 'main',
      installPath: `${home}/rbee`,
      nodePath: process.execPath,
      hivePort: 9200,
      backends: ['cpu'],
      devices: { cpu: 1 },
      status: 'reachable',
      lastConnectedUnix: expect.any(Number),
      lastError: undefined,
      ownedHive: undefined,
    });
    expect(record.lastConnectedUnix).toBeGreaterThanOrEqual(before);
    expect(changes).toEqual([['workstation', record]]);
    expect(humans()).toEqual([
      'checking SSH access to host',
      `its host key is pinned: ${GITHUB_FINGERPRINT}`,
      'rbee is not installed there: rbee-keeper setup install --node workstation',
      "SSH access works; node 'workstation' is saved",
    ]);
  });

  it('is saved as it was described; what was given is not looked for', async () => {
    const request: AddNode = {
      ...workstation,
      ssh_port: 2222,
      ssh_user: 'user',
      ssh_key_path: '/home/me/.ssh/id',
      host_key_fingerprint: GITHUB_FINGERPRINT,
      git_repo_url: 'https://user:pass@git.example/rbee.git',
      git_branch: 'next',
      install_path: "~/$(touch pwned) 'x'",
      node_path: '~/bin/node',
      hive_port: 9300,
      backends: ['cuda', 'cpu'],
      devices: { cuda: 2, cpu: 1 },
    };
    await admin.add(request, narrate, signal);
    expect(lastSession().address).toEqual({ host: 'host', port: 2222, user: 'user', keyPath: '/home/me/.ssh/id' });
    expect([lastSession().hostKeys, lastSession().expectedFingerprint]).toEqual([{}, GITHUB_FINGERPRINT]);
    await expect(registry.get('workstation')).resolves.toMatchObject({
      ssh: lastSession().address,
      gitRepoUrl: 'https://user:pass@git.example/rbee.git',
      gitBranch: 'next',
      installPath: `${home}/$(touch pwned) 'x'`,
      nodePath: `${home}/bin/node`,
      hivePort: 9300,
      backends: ['cuda', 'cpu'],
      devices: { cuda: 2, cpu: 1 },
    });
    expect(humans()).toContain('the Node.js that was named cannot be used (not there); rbee needs 20.19 or newer');
  });

  it('tells its backends by a hive that is there already', async () => {
    installHive(
      `${home}/rbee`,
      `console.log('welcome'), console.log(JSON.stringify({backends: ['cpu', 'cuda'], devices: {cpu: 1, cuda: 2}, total_devices: 3}))`,
    );
    await admin.add(workstation, narrate, signal);
    const { backends, devices } = await registry.require('workstation');
    expect([backends, devices]).toEqual([['cpu', 'cuda'], { cpu: 1, cuda: 2 }]);
    await admin.add({ ...workstation, node_name: 'named', backends: ['cuda', 'vulkan'] }, narrate, signal);
    await expect(registry.get('named')).resolves.toMatchObject({
      backends: ['cuda', 'vulkan'],
      devices: { cuda: 2, vulkan: 1 },
    });
  });

  it.each([
    ['fails', 'process.exit(1)'],
    ['says nothing', '0'],
    ['says something else', `console.log('{"backends":["abacus"]}')`],
    ['says what is no JSON', `console.log('{')`],
  ])('is saved with its cpu when that hive %s', async (_what, answer) => {
    installHive(`${home}/rbee`, answer, '');
    await admin.add(workstation, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ backends: ['cpu'], devices: { cpu: 1 } });
    expect(humans()).toContain('its backends could not be detected: only cpu is noted');
  });

  it('is saved without Node.js, which is told', async () => {
    prepare = (made) => {
      made.onRun = (script) =>
        script.includes('uname')
          ? { code: 0, stdout: `home\t${home}\nuser\tme\nos\tLinux\narch\tx86_64\n`, stderr: '' }
          : undefined;
    };
    await admin.add(workstation, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ nodePath: undefined, backends: ['cpu'] });
    expect(said).toContainEqual(
      expect.objectContaining({ human: 'no Node.js 20.19 or newer is there; rbee needs one', level: 'warn' }),
    );
  });

  it('may greet with whatever text it likes', async () => {
    const profile = join(folder, 'profile');
    writeFileSync(profile, 'echo Welcome\necho\n');
    prepare = (made) => {
      const run = made.run.bind(made);
      made.run = (script, args, options) => run(`. '${profile.replaceAll("'", `'\\''`)}'\n${script}`, args, options);
    };
    await admin.add(workstation, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ installPath: `${home}/rbee` });
  });

  const answer = (result: Partial<RunResult>) => (made: LocalSession) => {
    made.onRun = () => ({ code: 0, stdout: '', stderr: '', ...result });
  };
  const fail = (code: 'SSH_CONNECTION_TIMEOUT' | 'SSH_AUTH_FAILED') => (made: LocalSession) => {
    made.onConnect = () => Promise.reject(new RbeeError(code, 'no'));
  };
  const forgetHome = () => {
    environment.HOME = '';
  };
  it.each([
    ['a connection that does not come about', 'SSH_CONNECTION_TIMEOUT', fail('SSH_CONNECTION_TIMEOUT')],
    ['a refused key', 'SSH_AUTH_FAILED', fail('SSH_AUTH_FAILED')],
    ['a command that fails', 'SSH_COMMAND_FAILED', answer({ code: 1, stderr: 'This account is not available.\n' })],
    ['a text that does not come back', 'SSH_COMMAND_FAILED', answer({ stdout: 'hello\n' })],
    ['a user without a home folder', 'SSH_COMMAND_FAILED', forgetHome],
  ] as const)('is not saved after %s', async (_what, code, fault) => {
    prepare = fault;
    await expect(admin.add(workstation, narrate, signal)).rejects.toMatchObject({ code });
    await expectNothingLeft();
    expect(humans().filter((human) => human.includes('saved'))).toEqual([]);
  });

  it.each([
    [
      'while it connects',
      (made: LocalSession, abort: AbortController) => {
        made.onConnect = (ended) => {
          abort.abort(new Error('gone'));
          return ended?.aborted ? Promise.reject(ended.reason) : Promise.resolve();
        };
      },
    ],
    [
      'while its commands run',
      (made: LocalSession, abort: AbortController) => {
        made.onRun = (script) => void (script.startsWith('printf') && abort.abort(new Error('gone')));
      },
    ],
    [
      'before it is saved',
      (made: LocalSession, abort: AbortController) => {
        const close = made.close.bind(made);
        made.close = async () => {
          abort.abort(new Error('gone'));
          await close();
        };
      },
    ],
  ])('is not saved for a client that leaves %s', async (_what, arrange) => {
    const abort = new AbortController();
    prepare = (made) => arrange(made, abort);
    await expect(admin.add(workstation, narrate, abort.signal)).rejects.toThrow('gone');
    await expectNothingLeft();
  });

  it('is not reached at all where its name is taken, also by a request that still runs', async () => {
    const both = await Promise.allSettled([
      admin.add(workstation, narrate, signal),
      admin.add({ ...workstation, ssh_host: 'another' }, narrate, signal),
      admin.add({ ...workstation, node_name: 'different' }, narrate, signal),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(both[1]).toMatchObject({ reason: { code: 'NODE_ALREADY_EXISTS' } });
    expect(sessions.map(({ address }) => address.host)).toEqual(['host', 'host']);
    expect((await registry.list()).map(({ name }) => name)).toEqual(['different', 'workstation']);
    expect(changes.map(([name]) => name).sort()).toEqual(['different', 'workstation']);
  });

  it('is told of nobody when it cannot be saved', async () => {
    prepare = (made) => {
      made.close = async () => {
        made.closed = true;
        writeFileSync(file, 'this is no database '.repeat(100));
      };
    };
    await expect(admin.add(workstation, narrate, signal)).rejects.toMatchObject({ code: 'REGISTRY_ERROR' });
    expect(changes).toEqual([]);
  });
});

describe('a change of a node over SSH', () => {
  const owned = { pid: 4711, startTime: 'Tue' };

  beforeEach(async () => {
    await admin.add(workstation, () => undefined, signal);
    await registry.update('workstation', { ownedHive: owned, status: 'unreachable', lastError: 'timed out' });
    changes.length = 0;
  });

  it('keeps what it does not name, pins and hive included, and marks the node as reachable', async () => {
    const before = await registry.require('workstation');
    await expect(
      admin.update({ node_name: 'workstation', git_branch: 'next' }, narrate, signal),
    ).resolves.toMatchObject({ success: true, host_key_fingerprint: GITHUB_FINGERPRINT });
    expect(lastSession().hostKeys).toEqual(before.hostKeys);
    const after = await registry.require('workstation');
    const { lastConnectedUnix } = after;
    expect(after).toEqual({
      ...before,
      gitBranch: 'next',
      status: 'reachable',
      lastError: undefined,
      lastConnectedUnix,
    });
    expect(changes).toEqual([['workstation', after]]);
    expect(humans()).toContain(`the host key is the pinned one: ${GITHUB_FINGERPRINT}`);
  });

  it.each([
    ['host', { ssh_host: 'elsewhere' }],
    ['port', { ssh_port: 2222 }],
  ])('to another %s pins anew, looks again at everything, and owns no hive there', async (_what, change) => {
    await registry.update('workstation', { backends: ['cuda'], devices: { cuda: 7 }, nodePath: '/gone/node' });
    prepare = (made) => {
      made.showsHostKeys = { '[elsewhere]:22': OTHER };
    };
    await admin.update({ node_name: 'workstation', ...change }, narrate, signal);
    expect(lastSession().hostKeys).toEqual({});
    await expect(registry.get('workstation')).resolves.toMatchObject({
      hostKeys: { '[elsewhere]:22': OTHER },
      backends: ['cpu'],
      devices: { cpu: 1 },
      nodePath: process.execPath,
      ownedHive: undefined,
    });
  });

  it('that names the port which is used anyway keeps the pinned key', async () => {
    const { hostKeys } = await registry.require('workstation');
    await admin.update({ node_name: 'workstation', ssh_port: 22 }, narrate, signal);
    expect(lastSession().hostKeys).toEqual(hostKeys);
    await expect(registry.get('workstation')).resolves.toMatchObject({ ssh: { port: 22 }, ownedHive: owned });
  });

  it('to another port of its hive owns none there', async () => {
    await admin.update({ node_name: 'workstation', hive_port: 9300 }, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ hivePort: 9300, ownedHive: undefined });
  });

  it('with a fingerprint takes the key that has it in place of the pinned one, and keeps those on the way', async () => {
    const request = { node_name: 'workstation', host_key_fingerprint: GITHUB_FINGERPRINT };
    await admin.update(request, narrate, signal);
    expect(lastSession().hostKeys).toEqual({ '[gate]:22': OTHER });
    expect(lastSession().expectedFingerprint).toBe(GITHUB_FINGERPRINT);
    expect(humans()).toContain(`its host key is pinned: ${GITHUB_FINGERPRINT}`);
  });

  it('finds Node.js anew when it has gone from where it was, unless it was named', async () => {
    await registry.update('workstation', { nodePath: join(folder, 'gone/node') });
    await admin.update({ node_name: 'workstation' }, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ nodePath: process.execPath });
    await admin.update({ node_name: 'workstation', node_path: '/gone/node' }, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ nodePath: '/gone/node' });
  });

  it('names backends, their devices, or both', async () => {
    const update = async (change: object) => {
      await admin.update({ node_name: 'workstation', ...change }, narrate, signal);
      const { backends, devices } = await registry.require('workstation');
      return { backends, devices };
    };
    await expect(update({ backends: ['cuda'] })).resolves.toEqual({ backends: ['cuda'], devices: { cuda: 1 } });
    await expect(update({ devices: { cpu: 1, cuda: 3 } })).resolves.toEqual({
      backends: ['cpu', 'cuda'],
      devices: { cpu: 1, cuda: 3 },
    });
    await expect(update({ git_branch: 'x' })).resolves.toEqual({
      backends: ['cpu', 'cuda'],
      devices: { cpu: 1, cuda: 3 },
    });
  });

  it('that fails changes nothing', async () => {
    const before = await registry.require('workstation');
    prepare = (made) => {
      made.onConnect = () => Promise.reject(new RbeeError('SSH_HOST_KEY_CHANGED', 'changed'));
    };
    const change = admin.update({ node_name: 'workstation', ssh_user: 'other' }, narrate, signal);
    await expect(change).rejects.toMatchObject({ code: 'SSH_HOST_KEY_CHANGED' });
    await expect(registry.get('workstation')).resolves.toEqual(before);
    expect(changes).toEqual([]);
  });

  it('keeps what others have written while it was looked at', async () => {
    prepare = (made) => {
      made.onConnect = async () =>
        void (await registry.update('workstation', { ownedHive: { pid: 1, startTime: 'b' } }));
    };
    await admin.update({ node_name: 'workstation', git_branch: 'next' }, narrate, signal);
    await expect(registry.get('workstation')).resolves.toMatchObject({ ownedHive: { pid: 1 }, gitBranch: 'next' });
  });

  it.each([
    ['hive_token_file', { hive_token_file: '/key' }],
    ['hive_token_file', { hive_url: 'http://127.0.0.1:1' }],
  ])('is refused without looking when %s makes no sense', async (field, change) => {
    await expect(admin.update({ node_name: 'workstation', ...change }, narrate, signal)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      details: { errors: [{ field }] },
    });
    expect(sessions).toHaveLength(1);
  });
});

describe('a node that is not there', () => {
  it('is neither changed nor removed', async () => {
    await expect(admin.update({ node_name: 'nobody' }, narrate, signal)).rejects.toMatchObject({
      code: 'NODE_NOT_FOUND',
    });
    await expect(admin.remove('nobody')).rejects.toMatchObject({ code: 'NODE_NOT_FOUND' });
    await expect(admin.remove('localhost')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect([sessions, changes, said]).toEqual([[], [], []]);
  });
});

it('removes a node, also one that is being added', async () => {
  const added = admin.add(workstation, narrate, signal);
  await expect(admin.remove('workstation')).resolves.toEqual({
    success: true,
    message: "node 'workstation' is removed",
    node_name: 'workstation',
  });
  await added;
  await expect(registry.list()).resolves.toEqual([]);
  expect(changes.map(([name, record]) => [name, record?.name])).toEqual([
    ['workstation', 'workstation'],
    ['workstation', undefined],
  ]);
});

describe('a node at the address of its hive', () => {
  let hive: ScriptedHive;
  let hive_token_file: string;
  let request: AddNode;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    hive_token_file = join(folder, 'key');
    writeFileSync(hive_token_file, 'a-key\n', { mode: 0o600 });
    request = { node_name: 'far', hive_url: `http://127.0.0.1:${hive.port}`, hive_token_file };
  });

  afterEach(() => hive.stop());

  it('is saved with the backends that the hive tells', async () => {
    await expect(admin.add(request, narrate, signal)).resolves.toMatchObject({ success: true, node_name: 'far' });
    await expect(registry.get('far')).resolves.toMatchObject({
      ssh: undefined,
      direct: { url: request.hive_url, tokenFile: hive_token_file },
      hivePort: hive.port,
      hostKeys: {},
      backends: ['cpu'],
      devices: { cpu: 1 },
      status: 'reachable',
    });
    expect(hive.calls).toEqual(['health', 'listBackends']);
    expect(humans().at(-1)).toBe("its hive answers; node 'far' is saved");
    expect(sessions).toEqual([]);
  });

  it('is not saved when its hive has another version', async () => {
    hive.version = '0.2.0';
    await expect(admin.add(request, narrate, signal)).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
      details: { hive_version: '0.2.0' },
    });
    await expectNothingLeft();
  });

  it.each([
    ['is open to others', () => chmodSync(hive_token_file, 0o644), /mode 0644/],
    ['is missing', () => rmSync(hive_token_file), /ENOENT/],
    ['is empty', () => writeFileSync(hive_token_file, '\n'), /empty/],
  ])('is not asked when the key file %s; the path is not told', async (_what, spoil, expected) => {
    spoil();
    const refused = admin.add(request, narrate, signal);
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_PATH', message: expect.stringMatching(expected) });
    await expect(refused).rejects.not.toThrow(folder);
    expect(hive.calls).toEqual([]);
    await expectNothingLeft();
  });

  it('is not saved when nothing listens there, after three attempts that are told', async () => {
    const { port } = hive;
    await hive.stop();
    await expect(admin.add(request, narrate, signal)).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      details: { node: 'far', port, attempts: 3 },
      suggestion: expect.stringContaining('rbee-hive daemon'),
    });
    expect(humans().map((human) => /attempt (\d\/3)/.exec(human)?.[1])).toEqual(['1/3', '2/3', '3/3']);
    await expectNothingLeft();
  });

  it('is not saved when the hive refuses the key', async () => {
    const server = createServer((call, response) => {
      const open = call.url === '/v1/health';
      const refusal = { error: { code: 'INVALID_API_KEY', message: 'no', retryable: false } };
      const health = { status: 'alive', version: VERSION, api_version: 'v1' };
      response.writeHead(open ? 200 : 401, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(open ? health : refusal));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const hive_url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await expect(admin.add({ ...request, hive_url }, narrate, signal)).rejects.toMatchObject({
        code: 'INVALID_API_KEY',
        suggestion: expect.stringContaining('--hive-token-file'),
      });
      await expectNothingLeft();
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('can be reached over SSH from now on, and the other way round', async () => {
    await admin.add(request, narrate, signal);
    await admin.update({ node_name: 'far', ssh_host: 'host' }, narrate, signal);
    await expect(registry.get('far')).resolves.toMatchObject({
      ssh: { host: 'host' },
      direct: undefined,
      hivePort: 9200,
      installPath: `${home}/rbee`,
      hostKeys: { '[host]:22': GITHUB },
    });
    await admin.update({ node_name: 'far', hive_url: request.hive_url, hive_token_file }, narrate, signal);
    await expect(registry.get('far')).resolves.toMatchObject({
      ssh: undefined,
      direct: { tokenFile: hive_token_file },
      hostKeys: {},
      nodePath: undefined,
      hivePort: hive.port,
    });
  });

  it.each(SSH_FIELDS)('has no %s to be changed', async (field) => {
    await admin.add(request, narrate, signal);
    const value = /port/.test(field) ? 2222 : '/x';
    await expect(admin.update({ node_name: 'far', [field]: value }, narrate, signal)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      details: { errors: [{ field }] },
    });
  });
});
