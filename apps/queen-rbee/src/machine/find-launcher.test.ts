import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { LocalMachine } from '../ssh/testing/local-machine.js';
import { findLauncher } from './find-launcher.js';

const NODE_SCRIPT = '#!/usr/bin/env node\n';

describe('findLauncher', () => {
  let home: string;
  let root: string;
  let nodePath: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'launcher-'));
    root = join(home, "an 'install' $(path)");
    nodePath = join(home, 'node/bin/node');
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const put = (path: string, text = NODE_SCRIPT, mode = 0o755): string => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };
  const find = (place: Partial<Parameters<typeof findLauncher>[1]> = {}, path = '') => {
    const machine = new LocalMachine({ variables: { HOME: home, PATH: `/usr/bin:/bin${path}` } });
    return findLauncher(machine, { installPath: root, nodePath, timeoutMs: 10_000, ...place });
  };

  it('finds nothing where nothing is', async () => {
    expect(await find()).toBeUndefined();
    expect(await find({ binaryPath: '/nowhere/rbee-hive' })).toBeUndefined();
  });

  it('prefers the release in use to a plain checkout, and that to the PATH', async () => {
    const global = put(join(home, 'bin/rbee-hive'));
    expect(await find({}, `:${dirname(global)}`)).toEqual([nodePath, global]);
    const checkout = put(join(root, 'apps/rbee-hive/bin/rbee-hive.js'), NODE_SCRIPT, 0o644);
    expect(await find({}, `:${dirname(global)}`)).toEqual([nodePath, checkout]);
    put(join(root, 'releases/one/apps/rbee-hive/bin/rbee-hive.js'));
    symlinkSync('releases/one', join(root, 'current'));
    expect(await find()).toEqual([nodePath, join(root, 'current/apps/rbee-hive/bin/rbee-hive.js')]);
  });

  it('knows the home folder', async () => {
    const checkout = put(join(home, 'rbee/apps/rbee-hive/bin/rbee-hive.js'));
    expect(await find({ installPath: '~/rbee' })).toEqual([nodePath, checkout]);
  });

  it('finds one that was installed with Node.js', async () => {
    const beside = put(join(dirname(nodePath), 'rbee-hive'));
    expect(await find()).toEqual([nodePath, beside]);
  });

  it('takes only the program that the settings name', async () => {
    put(join(root, 'apps/rbee-hive/bin/rbee-hive.js'));
    const program = put(join(home, 'own hive'), '\x7fELF\0\0');
    expect(await find({ binaryPath: program })).toEqual([program]);
    expect(await find({ binaryPath: '~/own hive', nodePath: undefined })).toEqual([program]);
  });

  it('needs Node.js for a script of it, and permission for anything else', async () => {
    const script = put(join(home, 'script'));
    expect(await find({ binaryPath: script })).toEqual([nodePath, script]);
    expect(await find({ binaryPath: script, nodePath: undefined })).toBeUndefined();
    expect(await find({ binaryPath: put(join(home, 'text'), 'hello\n', 0o644) })).toBeUndefined();
  });
});
