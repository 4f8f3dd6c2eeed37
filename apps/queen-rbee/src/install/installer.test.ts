import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, type Spoken, systemClock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';
import type { NodeRecord } from '../registry/node-record.js';
import { makeNodeRecord } from '../registry/testing/make-node-record.js';
import { LocalMachine } from '../ssh/testing/local-machine.js';
import { failureOf } from '../testing/failure-of.js';
import { Installer, type InstallerOptions } from './installer.js';
import { thisPlatform } from './platform.js';
import type { UploadProgress } from './push-release.js';
import { makeSmallRoot } from './testing/small-release.js';

let folder: string;
let installPath: string;
let machine: LocalMachine;
let said: Spoken[];
let progress: UploadProgress[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'install-'));
  installPath = join(folder, 'home', 'rbee');
  mkdirSync(dirname(installPath));
  machine = new LocalMachine({ variables: { PATH: process.env.PATH, HOME: dirname(installPath) } });
  said = [];
  progress = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const record = (more: Partial<NodeRecord> = {}) => makeNodeRecord({ installPath, nodePath: process.execPath, ...more });

function installer(root: string, more: Partial<InstallerOptions> = {}): Installer {
  return new Installer({
    clock: systemClock,
    timeouts: DEFAULT_TIMEOUTS,
    root,
    stateFolder: join(folder, 'state'),
    ...more,
  });
}

interface How {
  readonly node?: Partial<NodeRecord>;
  readonly on?: Machine;
  readonly signal?: AbortSignal;
  readonly options?: Partial<InstallerOptions>;
}

function install(root: string, { node, on = machine, signal = new AbortController().signal, options }: How = {}) {
  return installer(root, options).install(record(node), on, {
    service: false,
    narrate: (spoken) => said.push(spoken),
    progress: (told) => progress.push(told),
    signal,
  });
}

function currentRelease(): string {
  return readlinkSync(join(installPath, 'current'));
}

/** Everything in the install path down to the names of releases. */
function left(): string[] {
  return readdirSync(installPath)
    .flatMap((name) =>
      name === 'releases' ? readdirSync(join(installPath, name)).map((id) => `releases/${id}`) : [name],
    )
    .sort();
}

/** The machine with one of its ways changed. */
function changed(change: Partial<Machine>): Machine {
  return {
    run: (script, args, options) => machine.run(script, args, options),
    upload: (source, target, options) => machine.upload(source, target, options),
    openSocket: (address) => machine.openSocket(address),
    ...change,
  };
}

describe("the queen's own release", () => {
  it('is sent, unpacked and switched to, and the second time nothing changes', async () => {
    const root = makeSmallRoot(join(folder, 'root'));
    const first = await install(root);
    expect(first).toEqual({
      release: expect.stringMatching(/^0\.\d+\.\d+-[0-9a-f]{12}$/),
      unchanged: false,
      nodePath: process.execPath,
    });
    expect(currentRelease()).toBe(`releases/${first.release}`);
    expect(left()).toEqual(['current', `releases/${first.release}`]);
    expect(existsSync(join(installPath, 'current/apps/rbee-hive/node_modules/left/index.js'))).toBe(true);
    expect(said.map(({ action }) => action)).toEqual([
      'install_clone',
      'install_clone',
      'install_build',
      'install_build',
      'install_done',
    ]);
    const last = progress.at(-1);
    expect(last?.bytes_done).toBe(last?.bytes_total);
    expect(last?.bytes_total).toBeGreaterThan(0);

    const uploads: string[] = [];
    const counting = changed({
      upload: (source, target, options) => {
        uploads.push(target);
        return machine.upload(source, target, options);
      },
    });
    expect(await install(root, { on: counting })).toEqual({ ...first, unchanged: true });
    expect(uploads).toEqual([]);
    expect(left()).toEqual(['current', `releases/${first.release}`]);
  });

  it('keeps the release before when the new one fails its self-test', async () => {
    const { release } = await install(makeSmallRoot(join(folder, 'root')));
    const broken = makeSmallRoot(join(folder, 'broken'), { 'models/broken.gguf': '' });
    const error = await failureOf(install(broken));
    expect(error).toMatchObject({
      code: 'INSTALL_FAILED',
      message: 'installing rbee on workstation failed (activate): the engine cannot be loaded',
      details: { node: 'workstation', step: 'activate', exit_code: 1 },
    });
    expect(currentRelease()).toBe(`releases/${release}`);
    expect(left()).toEqual(['current', `releases/${release}`]);
  });

  it('lets the service manager start the hive where that is asked for', async () => {
    const request = { service: true, narrate: () => undefined, progress: () => undefined };
    const { signal } = new AbortController();
    await installer(makeSmallRoot(join(folder, 'root'))).install(record({ hivePort: 9201 }), machine, {
      ...request,
      signal,
    });
    expect(JSON.parse(readFileSync(join(installPath, 'service.json'), 'utf8'))).toEqual([
      'service',
      'install',
      '--port',
      '9201',
      '--node',
      process.execPath,
      '--root',
      installPath,
    ]);
  });

  it.each([
    ['fails its self-test', 'models/broken.gguf'],
    ['was emptied by a power cut', 'apps/rbee-hive/bin/rbee-hive.js'],
  ])('repairs a release that %s', async (_how, file) => {
    const root = makeSmallRoot(join(folder, 'root'));
    const { release } = await install(root);
    writeFileSync(join(installPath, 'releases', release, file), '');
    expect(await install(root)).toMatchObject({ release, unchanged: false });
    expect(await install(root)).toMatchObject({ release, unchanged: true });
    expect(left()).toEqual(['current', `releases/${release}`]);
  });

  it('does not take a program that does nothing for one that works', async () => {
    const { release } = await install(makeSmallRoot(join(folder, 'root')));
    const empty = makeSmallRoot(join(folder, 'empty'), { 'apps/rbee-hive/bin/rbee-hive.js': '' });
    expect(await failureOf(install(empty))).toMatchObject({
      message: expect.stringMatching(/\(activate\): error: the program of .* did nothing/) as unknown,
      details: { step: 'activate' },
    });
    expect(currentRelease()).toBe(`releases/${release}`);
    expect(left()).toEqual(['current', `releases/${release}`]);
  });

  it('goes back to a release that is still there without sending it', async () => {
    const one = makeSmallRoot(join(folder, 'one'));
    const two = makeSmallRoot(join(folder, 'two'), { 'models/two.gguf': '' });
    const { release } = await install(one);
    await install(two);
    const on = changed({ upload: () => Promise.reject(new Error('nothing is to be sent')) });
    expect(await install(one, { on })).toMatchObject({ release, unchanged: false });
    expect(currentRelease()).toBe(`releases/${release}`);
  });

  it.each(["it's a $(touch pwned) `touch pwned` path", '-n "quoted" ä:b; touch pwned', 'new\nline & * ?'])(
    'goes to %j',
    async (name) => {
      installPath = join(folder, 'home', name);
      const { release } = await install(makeSmallRoot(join(folder, 'root')), { node: { installPath } });
      expect(currentRelease()).toBe(`releases/${release}`);
      expect(left()).toEqual(['current', `releases/${release}`]);
      expect(readdirSync(join(folder, 'home'))).toEqual([name]);
      expect(existsSync('pwned')).toBe(false);
    },
  );

  it('notices an archive that arrives damaged, and leaves nothing', async () => {
    const on = changed({
      upload: async (source, target, options) => {
        await machine.upload(source, target, options);
        const bytes = readFileSync(target);
        bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
        writeFileSync(target, bytes);
      },
    });
    const error = await failureOf(install(makeSmallRoot(join(folder, 'root')), { on }));
    expect(error.message).toContain('(unpack): the archive arrived damaged');
    expect(existsSync(installPath)).toBe(false);
  });

  it('says where the folder cannot be used', async () => {
    writeFileSync(installPath, 'a file');
    const error = await failureOf(install(makeSmallRoot(join(folder, 'root'))));
    expect(error.code).toBe('INSTALL_FAILED');
    expect(error.message).toMatch(/cannot be used: mkdir: .*(Not a directory|File exists)/);
    expect(readFileSync(installPath, 'utf8')).toBe('a file');
  });

  it('says which machine it does not fit, and on which Node.js', async () => {
    const root = makeSmallRoot(join(folder, 'root'));
    const platform = { ...thisPlatform(), arch: 's390x', libc: 'musl' as const };
    const musl = changed({
      run: async (script, args, options) => {
        const result = await machine.run(script, args, options);
        return { ...result, stdout: result.stdout.replace(/^libc\t.*$/m, 'libc\tmusl') };
      },
    });
    const error = await failureOf(install(root, { on: musl, options: { platform } }));
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', details: { step: 'platform' } });
    expect(error.message).toContain('there is no prebuilt engine for linux-');
    expect(await failureOf(install(root, { node: { nodePath: '/nowhere/node' } }))).toMatchObject({
      code: 'INSTALL_FAILED',
      message: expect.stringContaining('/nowhere/node') as unknown,
    });
    expect(existsSync(installPath)).toBe(false);
  });

  it('says that npm is missing where the node has to install packages', async () => {
    const root = makeSmallRoot(join(folder, 'root'), { 'package.json': '{"packageManager":"pnpm@12.21.0"}' });
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    for (const name of [
      'sh',
      'cat',
      'cut',
      'sed',
      'mkdir',
      'rm',
      'rmdir',
      'mv',
      'find',
      'sleep',
      'df',
      'tail',
      'head',
      'dirname',
      'basename',
      'readlink',
      'tar',
      'gzip',
      'tr',
      'uname',
      'id',
      'mktemp',
      'getconf',
      'setsid',
    ]) {
      symlinkSync(execFileSync('which', [name], { encoding: 'utf8' }).trim(), join(bin, name));
    }
    symlinkSync(process.execPath, join(bin, 'node'));
    const bare = new LocalMachine({ variables: { PATH: bin, HOME: join(folder, 'home') } });
    const error = await failureOf(
      install(root, {
        on: bare,
        node: { nodePath: join(bin, 'node') },
        options: { platform: { ...thisPlatform(), abi: '1' } },
      }),
    );
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', suggestion: expect.stringContaining('npm') as unknown });
    expect(error.message).toContain('npm was not found');
    expect(existsSync(installPath)).toBe(false);
  });
});

describe('an installation that is broken off', () => {
  it('leaves nothing when it is cancelled while the node works', async () => {
    const { release } = await install(makeSmallRoot(join(folder, 'root')));
    const slow = makeSmallRoot(join(folder, 'slow'), { 'models/slow.gguf': '' });
    const cancel = new AbortController();
    const reason = new RbeeError('CANCELLED', 'no more');
    const on = changed({
      run: (script, args, options) => {
        if (script.includes('release activate')) setTimeout(() => cancel.abort(reason), 300);
        return machine.run(script, args, options);
      },
    });
    await expect(install(slow, { on, signal: cancel.signal })).rejects.toBe(reason);
    expect(currentRelease()).toBe(`releases/${release}`);
    expect(left()).toEqual(['current', `releases/${release}`]);
  });

  it('ends a step that takes too long', async () => {
    const slow = makeSmallRoot(join(folder, 'slow'), { 'models/slow.gguf': '' });
    const options = { timeouts: { ...DEFAULT_TIMEOUTS, install_step: 1000 } };
    const error = await failureOf(install(slow, { options }));
    expect(error).toMatchObject({ code: 'INSTALL_FAILED', details: { step: 'activate' } });
    expect(existsSync(installPath)).toBe(false);
  });

  it('does not begin while another one is under way, here or on the node', async () => {
    const slow = makeSmallRoot(join(folder, 'slow'), { 'models/slow.gguf': '' });
    const cancel = new AbortController();
    let activating: () => void = () => undefined;
    const started = new Promise<void>((resolve) => {
      activating = resolve;
    });
    const on = changed({
      run: (script, args, options) => {
        if (script.includes('release activate')) activating();
        return machine.run(script, args, options);
      },
    });
    const same = installer(slow);
    const request = { service: false, narrate: () => undefined, progress: () => undefined, signal: cancel.signal };
    const first = same.install(record(), on, request).catch((error: unknown) => error);
    await started;
    expect(await failureOf(same.install(record(), machine, request))).toMatchObject({
      message: 'rbee is being installed on workstation already',
      details: { step: 'lock' },
    });
    const other = await failureOf(install(makeSmallRoot(join(folder, 'root')), { node: { name: 'same-machine' } }));
    expect(other.message).toMatch(/^another installation is under way on same-machine \(process \d+ there\)$/);
    cancel.abort(new RbeeError('CANCELLED', 'no more'));
    await first;
    expect(existsSync(installPath)).toBe(false);
  });

  it.each([
    ['and its number is free', () => spawnSync('true').pid],
    ['and another process has got its number', () => process.pid],
  ])('is cleaned up by the next one when nothing on the node is left of it, %s', async (_how, pidOfHolder) => {
    const { release } = await install(makeSmallRoot(join(folder, 'root')));
    const lock = join(installPath, '.installing');
    mkdirSync(lock);
    writeFileSync(join(lock, 'pid'), `${pidOfHolder()}\n`);
    writeFileSync(join(lock, 'identity'), '1 1\n');
    writeFileSync(join(lock, 'pending'), 'half\n');
    for (const name of ['half', '.incoming-other']) mkdirSync(join(installPath, 'releases', name));
    expect(await install(makeSmallRoot(join(folder, 'again')))).toMatchObject({ release, unchanged: true });
    expect(left()).toEqual(['current', `releases/${release}`]);
  });
});

describe('a node without space', () => {
  it('is told beforehand with both figures', async () => {
    const on = changed({
      run: async (script, args, options) => {
        const result = await machine.run(script, args, options);
        return { ...result, stdout: result.stdout.replace(/^(disk\t.*?\s\d+\s+\d+\s+)\d+/m, '$11000') };
      },
    });
    const root = makeSmallRoot(join(folder, 'root'), { 'models/big.gguf': Buffer.alloc(3e6) });
    expect(await failureOf(install(root, { on }))).toMatchObject({
      code: 'INSTALL_FAILED',
      details: { step: 'space', required_mb: 4, available_mb: 1 },
    });
    expect(existsSync(installPath)).toBe(false);
  });

  it('that is full before anything begins is not taken for a folder that may not be written', async () => {
    const small = join(folder, 'home', 'small');
    mkdirSync(small);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'rbee-test', small]).status !== 0) {
      process.stderr.write('skipped: mounting is not allowed here\n');
      return;
    }
    try {
      installPath = join(small, 'rbee');
      mkdirSync(join(installPath, 'releases'), { recursive: true });
      spawnSync('dd', ['if=/dev/zero', `of=${join(small, 'full')}`, 'bs=4k'], { stdio: 'ignore' });
      const error = await failureOf(install(makeSmallRoot(join(folder, 'root')), { node: { installPath } }));
      expect(error).toMatchObject({
        code: 'INSTALL_FAILED',
        message: 'installing rbee on workstation failed (lock): the disk of the node is full',
        suggestion: expect.stringContaining('df -h'),
      });
      expect(readdirSync(installPath)).toEqual(['releases']);
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('that fills up meanwhile fails and keeps nothing of it', async () => {
    const small = join(folder, 'home', 'small');
    mkdirSync(small);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'rbee-test', small]).status !== 0) {
      process.stderr.write('skipped: mounting is not allowed here\n');
      return;
    }
    try {
      installPath = join(small, 'rbee');
      // Compressed it fits, unpacked it does not; the node's answer about its space is out of date by then.
      const root = makeSmallRoot(join(folder, 'root'), { 'models/big.gguf': Buffer.alloc(30e6) });
      const on = changed({
        run: async (script, args, options) => {
          const result = await machine.run(script, args, options);
          return { ...result, stdout: result.stdout.replace(/^(disk\t.*?\s\d+\s+\d+\s+)\d+/m, '$199000000') };
        },
      });
      const error = await failureOf(install(root, { on, node: { installPath } }));
      expect(error).toMatchObject({
        code: 'INSTALL_FAILED',
        message: 'installing rbee on workstation failed (unpack): the disk of the node is full',
        details: { step: 'unpack' },
      });
      expect(readdirSync(small)).toEqual([]);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});

it('finds the release of a queen by a path that is a link', async () => {
  const root = makeSmallRoot(join(folder, 'root'));
  symlinkSync(root, join(folder, 'link'));
  expect(realpathSync(join(folder, 'link'))).toBe(root);
  await install(join(folder, 'link'));
});
