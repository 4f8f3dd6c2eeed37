import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { LocalMachine } from '../ssh/testing/local-machine.js';
import { inspectMachine, readFacts } from './inspect-machine.js';
import type { Machine } from './machine.js';
import { NODE_CANDIDATES, ON_LOGIN_PATH, ON_PATH } from './node-candidates.js';
import { nodeMissing } from './node-missing.js';

/** What the script needs of a machine; Node.js is not among it. */
const TOOLS = 'cut df getconf head id ldd mktemp printenv rm sed setsid sh sleep tail uname'.split(' ');

/** States of the processes of a group; a zombie has ended, and waits for a parent that asks. */
function statesOfGroup(group: string): (string | undefined)[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return [stat.slice(stat.lastIndexOf(')') + 2).split(' ')];
      } catch {
        // It has ended since.
        return [];
      }
    })
    .filter((fields) => fields[2] === group)
    .map(([state]) => state);
}

describe('inspectMachine', () => {
  let folder: string;
  let home: string;
  let tools: string;
  let scratch: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'inspect-'));
    home = join(folder, 'a home');
    tools = join(folder, 'tools');
    scratch = join(folder, 'scratch');
    for (const each of [home, tools, scratch]) mkdirSync(each);
    for (const tool of TOOLS) symlinkSync(`/usr/bin/${tool}`, join(tools, tool));
  });
  afterEach(() => {
    expect(readdirSync(scratch)).toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  });

  const machine = (variables: Record<string, string> = {}): Machine =>
    new LocalMachine({ variables: { HOME: home, PATH: tools, TMPDIR: scratch, ...variables } });
  const put = (path: string, text: string): string => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  };
  /** A program that answers as Node.js does. */
  const putNode = (path: string, version: string, execPath = path): string =>
    put(path, `#!/bin/sh\nprintf 'v%s\\t115\\tlinux\\tx64\\t%s\\n' '${version}' '${execPath}'\n`);
  const inHome = (...candidates: string[]) => ({
    timeoutMs: 20_000,
    candidates: candidates.length > 0 ? candidates : NODE_CANDIDATES.filter((path) => !path.startsWith('/')),
  });

  it('tells what this machine is', async () => {
    const path = `${tools}:${dirname(process.execPath)}`;
    const facts = await inspectMachine(machine({ PATH: path }), { timeoutMs: 20_000 });
    expect(facts).toMatchObject({
      home,
      os: process.platform,
      arch: process.arch,
      libc: 'glibc',
      node: { path: process.execPath, version: process.versions.node, abi: process.versions.modules },
      rejected: [],
    });
    expect(facts.user).not.toBe('');
    expect(facts.freeBytes).toBeGreaterThan(0);
  });

  it('knows a machine without Node.js', async () => {
    expect(await inspectMachine(machine(), inHome())).toMatchObject({ home, node: undefined, rejected: [] });
  });

  it('takes the first on the PATH', async () => {
    const node = putNode(join(folder, 'first', 'node'), '20.19.0');
    putNode(join(folder, 'second', 'node'), '24.0.0');
    putNode(join(home, '.nvm/versions/node/v24.1.0/bin/node'), '24.1.0');
    const path = `relative:${tools}:${dirname(node)}:${join(folder, 'second')}`;
    const facts = await inspectMachine(machine({ PATH: path }), inHome());
    expect(facts).toMatchObject({ node: { path: node, version: '20.19.0', abi: '115' }, rejected: [] });
  });

  it('looks further when the first is too old, and tells so', async () => {
    const old = putNode(join(folder, 'first', 'node'), '18.20.4');
    const node = putNode(join(home, '.nvm/versions/node/v22.11.0/bin/node'), '22.11.0');
    const facts = await inspectMachine(machine({ PATH: `${tools}:${dirname(old)}` }), inHome());
    expect(facts).toMatchObject({ node: { path: node }, rejected: [{ path: old, version: '18.20.4' }] });
  });

  it('takes the newest that a version manager has', async () => {
    for (const version of ['9.11.2', '20.9.0', '20.19.3', '22.3.0', '8.0.0', '22.21.0'])
      putNode(join(home, `.nvm/versions/node/v${version}/bin/node`), version);
    const facts = await inspectMachine(machine(), inHome());
    expect(facts.node?.version).toBe('22.21.0');
    expect(facts.rejected.map(({ version }) => version).sort()).toEqual(['20.9.0', '8.0.0', '9.11.2']);
  });

  it.each([
    '.volta/tools/image/node/22.1.0/bin/node',
    '.local/share/fnm/node-versions/v22.1.0/installation/bin/node',
    'Library/Application Support/fnm/node-versions/v22.1.0/installation/bin/node',
    '.asdf/installs/nodejs/22.1.0/bin/node',
    '.local/share/mise/installs/node/22.1.0/bin/node',
    'n/bin/node',
    '.config/nvm/versions/node/v22.1.0/bin/node',
  ])('finds ~/%s', async (path) => {
    const node = putNode(join(home, path), '22.1.0');
    expect((await inspectMachine(machine(), inHome())).node?.path).toBe(node);
  });

  it('takes the program behind what a version manager puts on the PATH', async () => {
    const shim = putNode(join(home, '.asdf/shims/node'), '22.1.0', '/opt/real/bin/node');
    const facts = await inspectMachine(machine({ PATH: `${tools}:${dirname(shim)}` }), inHome());
    expect(facts.node?.path).toBe('/opt/real/bin/node');
  });

  it("asks the user's login shell, whatever its start-up files print", async () => {
    const node = putNode(join(home, 'mine/node'), '22.1.0');
    writeFileSync(join(home, '.profile'), `echo rbee; echo /usr/nowhere\nPATH=$HOME/mine:$PATH\nexport PATH\n`);
    const facts = await inspectMachine(machine({ SHELL: '/bin/sh' }), inHome(ON_PATH, ON_LOGIN_PATH));
    expect(facts.node?.path).toBe(node);
  });

  it('is not held up by a login shell that hangs, and leaves nothing of it', async () => {
    const pidFile = join(folder, 'pid');
    const shell = put(join(folder, 'shell'), `#!/bin/sh\necho $$ > '${pidFile}'\nsleep 60 &\nsleep 60\n`);
    const node = putNode(join(home, 'n/bin/node'), '22.1.0');
    const facts = await inspectMachine(machine({ SHELL: shell }), { ...inHome(), patienceSeconds: 0.2 });
    expect(facts.node?.path).toBe(node);
    const group = readFileSync(pidFile, 'utf8').trim();
    expect(statesOfGroup(group).filter((state) => state !== 'Z')).toEqual([]);
  });

  it('passes over programs that do not run, hang or answer something else', async () => {
    const broken = put(join(home, '.nvm/versions/node/v1/bin/node'), '#!/bin/sh\nexit 3\n');
    const strange = put(join(home, '.nvm/versions/node/v2/bin/node'), '#!/bin/sh\necho "v99 of everything"\n');
    const hanging = put(join(home, '.nvm/versions/node/v3/bin/node'), '#!/bin/sh\nsleep 60\n');
    const facts = await inspectMachine(machine(), { ...inHome(), patienceSeconds: 0.2 });
    expect(facts.node).toBeUndefined();
    expect(facts.rejected).toEqual([broken, strange, hanging].map((path) => ({ path, version: 'does not run' })));
  });

  it('takes only the path that was named, literally', async () => {
    const named = putNode(join(home, 'no[d]e $(touch pwned) *', 'node'), '22.1.0');
    putNode(join(home, 'n/bin/node'), '24.0.0');
    expect((await inspectMachine(machine(), { ...inHome(), nodePath: named })).node?.path).toBe(named);
    const short = await inspectMachine(machine(), { ...inHome(), nodePath: '~/n/bin/node' });
    expect(short.node).toMatchObject({ path: join(home, 'n/bin/node'), version: '24.0.0' });
    const missing = await inspectMachine(machine(), { ...inHome(), nodePath: '/nowhere/node' });
    expect(missing).toMatchObject({ node: undefined, rejected: [{ path: '/nowhere/node', version: 'not there' }] });
  });

  it('says when the machine does not answer as one', async () => {
    const dumb: Machine = { ...machine(), run: async () => ({ code: 1, stdout: '', stderr: 'no shell\n' }) };
    await expect(inspectMachine(dumb, inHome())).rejects.toMatchObject({
      code: 'SSH_COMMAND_FAILED',
      details: { exit_status: 1, last_line: 'no shell' },
    });
  });
});

describe('readFacts', () => {
  it('reads a Mac on which Node.js runs translated', () => {
    const output = [
      'home\t/Users/eve',
      'user\teve',
      'os\tDarwin',
      'arch\tarm64',
      'libc\t',
      'disk\tmap auto home 100 60 40 60% /Users/eve',
      'node\t/usr/local/bin/node\tv22.4.0\t127\tdarwin\tx64\t/usr/local/Cellar/node/22.4.0/bin/node',
    ].join('\n');
    expect(readFacts(output)).toEqual({
      home: '/Users/eve',
      user: 'eve',
      os: 'darwin',
      arch: 'x64',
      libc: undefined,
      node: { path: '/usr/local/bin/node', version: '22.4.0', abi: '127' },
      rejected: [],
      freeBytes: 40 * 1024,
    });
  });

  it.each([
    ['x86_64', 'x64'],
    ['aarch64', 'arm64'],
    ['riscv64', 'riscv64'],
  ])('names the architecture %s as Node.js does', (machine, arch) => {
    expect(readFacts(`os\tLinux\narch\t${machine}\nlibc\tmusl\n`)).toMatchObject({ arch, libc: 'musl', os: 'linux' });
  });
});

describe('nodeMissing', () => {
  it('says what was found and what to do', () => {
    const rejected = [{ path: '/usr/bin/node', version: '18.19.0' }];
    expect(nodeMissing('HIVE_NOT_INSTALLED', 'gpu-box', { rejected, os: 'linux' })).toMatchObject({
      code: 'HIVE_NOT_INSTALLED',
      message: 'no Node.js on gpu-box is 20.19 or newer: looked at /usr/bin/node (18.19.0)',
      suggestion: expect.stringContaining('setup update-node --name gpu-box --node-path PATH'),
    });
    expect(nodeMissing('INSTALL_FAILED', 'mac', { rejected: [], os: 'darwin' })).toMatchObject({
      message: 'Node.js was not found on mac: 20.19 or newer is needed',
      suggestion: expect.stringContaining('brew install node'),
    });
  });
});
