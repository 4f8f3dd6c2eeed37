import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { processEnvironment } from '@rbee/daemon-kit';
import { runCommand } from '../../test/run-command.js';
import { renderLaunchdAgent } from './launchd-agent.js';
import type { ServicePlan } from './service.js';
import { renderSystemdUnit } from './systemd-unit.js';

const plan: ServicePlan = {
  node: '/usr/bin/node',
  launcher: '/home/me/rbee/current/apps/rbee-hive/bin/rbee-hive.js',
  port: undefined,
  tokenFile: '/home/me/.rbee/secrets/hive.token',
  outputFile: '/home/me/.rbee/logs/rbee-hive.out.log',
};

describe('the systemd unit', () => {
  it('is restarted after a failure, reads anew upon a reload, ends in order and starts with the machine', () => {
    const unit = renderSystemdUnit(plan);
    const launcher = '"/home/me/rbee/current/apps/rbee-hive/bin/rbee-hive.js"';
    expect(unit).toContain(`\nExecStart="/usr/bin/node" ${launcher} "daemon"\n`);
    expect(unit).toContain('\nEnvironment="RBEE_HIVE_TOKEN_FILE=/home/me/.rbee/secrets/hive.token"\n');
    expect(unit).toContain('\nExecReload=/bin/kill -HUP $MAINPID\n');
    expect(unit).toContain('\nRestart=on-failure\n');
    expect(unit).toContain('\nKillMode=mixed\n');
    expect(unit).toContain('\nWantedBy=default.target\n');
  });

  it.each([
    ['a space', '/my files', '"/my files"'],
    ['percent signs', '/100%/%h', '"/100%%/%%h"'],
    ['a semicolon', ';', '";"'],
  ])('quotes %s', (_what, path, quoted) => {
    const unit = renderSystemdUnit({ ...plan, node: path, launcher: path, port: 9300 });
    expect(unit).toContain(`\nExecStart=${quoted} ${quoted} "daemon" "--port" "9300"\n`);
  });

  it.each([
    ['quotes', `/it's "mine"`, `"/it's \\"mine\\""`],
    ['a backslash', '/a\\n', '"/a\\\\n"'],
  ])('has the shell start a program with %s in its path', (_what, path, quoted) => {
    const unit = renderSystemdUnit({ ...plan, node: path, launcher: path });
    expect(unit).toContain(`\nExecStart="/bin/sh" "-c" "exec \\"$$0\\" \\"$$@\\"" ${quoted} ${quoted} "daemon"\n`);
  });

  it('is taken by systemd whatever its paths are', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rbee-unit-'));
    try {
      const odd = ['a space', "it's", '"x"', 'a\\nb', '%h', '$HOME', ';', '@x', '-x', '#', '*?[x]', 'ü'];
      const units = odd.map((name, index) => {
        const path = join(folder, name);
        mkdirSync(path);
        const node = join(path, 'node');
        symlinkSync(process.execPath, node);
        const unit = join(folder, `rbee-test-${index}.service`);
        writeFileSync(unit, renderSystemdUnit({ ...plan, node, launcher: join(path, 'x.js'), tokenFile: path }));
        return unit;
      });
      const env = { PATH: processEnvironment().variables.PATH, HOME: folder, XDG_RUNTIME_DIR: folder };
      const args = ['verify', '--user', '--man=no', ...units];
      const { error, status, stderr } = spawnSync('/usr/bin/systemd-analyze', args, { env, encoding: 'utf8' });
      if (error) process.stderr.write('skipped: systemd is not installed here\n');
      else expect([stderr, status]).toEqual(['', 0]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('doubles dollar signs only where they would name a variable', () => {
    const unit = renderSystemdUnit({ ...plan, node: '/$a/b$', launcher: '/$a/b$', tokenFile: '/$a' });
    expect(unit).toContain('\nExecStart="/$a/b$" "/$$a/b$$" "daemon"\n');
    expect(unit).toContain('"RBEE_HIVE_TOKEN_FILE=/$a"\n');
  });
});

describe('the launchd agent', () => {
  it('starts the hive and keeps it', () => {
    const agent = renderLaunchdAgent({ ...plan, port: 9300 });
    for (const arg of [plan.node, plan.launcher, 'daemon', '--port', '9300']) {
      expect(agent).toContain(`    <string>${arg}</string>\n`);
    }
    expect(agent).toMatch(/<key>SuccessfulExit<\/key>\n\s+<false\/>/);
    expect(agent).toMatch(/<key>RBEE_HIVE_TOKEN_FILE<\/key>\n\s+<string>\/home\/me\/.rbee\/secrets\/hive.token</);
  });

  it('escapes what XML gives a meaning', () => {
    const agent = renderLaunchdAgent({ ...plan, launcher: `/a & <b> "c" 'd'/]]>` });
    expect(agent).toContain('<string>/a &amp; &lt;b&gt; &quot;c&quot; &apos;d&apos;/]]&gt;</string>');
  });
});

describe('the commands', () => {
  let home: string;
  let tools: string;
  beforeEach(() => {
    home = join(mkdtempSync(join(tmpdir(), 'rbee-service-')), 'my home');
    tools = join(home, 'tools');
    mkdirSync(tools, { recursive: true });
    for (const name of ['systemctl', 'loginctl', 'launchctl']) tool(name, '');
    install('current');
  });
  afterEach(() => rmSync(dirname(home), { recursive: true }));

  const root = () => join(home, 'rbee');
  const launcher = (...parts: string[]) => join(root(), ...parts, 'apps/rbee-hive/bin/rbee-hive.js');
  const unitFile = () => join(home, '.config/systemd/user/rbee-hive.service');
  const agentFile = () => join(home, 'Library/LaunchAgents/dev.rbee.hive.plist');
  const user = userInfo();

  /** A program of the system that notes how it was called. */
  function tool(name: string, text: string): void {
    const script = `#!/bin/sh\necho "${name} $*" >> "$HOME/calls"\n${text}\n`;
    writeFileSync(join(tools, name), script);
    chmodSync(join(tools, name), 0o755);
  }
  function install(...parts: string[]): void {
    mkdirSync(dirname(launcher(...parts)), { recursive: true });
    writeFileSync(launcher(...parts), '');
  }
  function calls(): string[] {
    if (!existsSync(join(home, 'calls'))) return [];
    const lines = readFileSync(join(home, 'calls'), 'utf8').trim().split('\n');
    rmSync(join(home, 'calls'));
    return lines;
  }
  const service = (args: string[], platform: NodeJS.Platform = 'linux', path = `${tools}:/usr/bin:/bin`) =>
    runCommand(['service', ...args], {
      ...processEnvironment(),
      home,
      platform,
      variables: { PATH: path, HOME: home },
    });

  it('set up, renew and remove a systemd unit', async () => {
    const first = await service(['install', '--root', root(), '--port', '9300']);
    expect([first.code, first.stderr]).toEqual([0, '']);
    const answer = { installed: unitFile(), node: process.execPath, launcher: launcher('current') };
    expect(JSON.parse(first.stdout)).toEqual(answer);
    expect(calls()).toEqual([
      `loginctl enable-linger ${user.username}`,
      'systemctl --user daemon-reload',
      'systemctl --user enable --now rbee-hive.service',
    ]);
    expect(readFileSync(unitFile(), 'utf8')).toContain(`"${launcher('current')}" "daemon" "--port" "9300"\n`);
    const key = join(home, '.rbee/secrets/hive.token');
    expect(readFileSync(key, 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
    expect([statSync(key).mode & 0o777, statSync(dirname(key)).mode & 0o777]).toEqual([0o600, 0o700]);

    const before = readFileSync(key, 'utf8');
    await service(['install', '--root', root(), '--port', '9300']);
    expect(calls()).not.toContain('systemctl --user restart rbee-hive.service');
    expect(readFileSync(key, 'utf8')).toBe(before);
    await service(['install', '--root', root(), '--port', '9301']);
    expect(calls()).toContain('systemctl --user restart rbee-hive.service');

    expect(JSON.parse((await service(['remove'])).stdout)).toEqual({ removed: true });
    expect(calls()).toEqual(['systemctl --user disable --now rbee-hive.service', 'systemctl --user daemon-reload']);
    expect(existsSync(unitFile())).toBe(false);
    expect(JSON.parse((await service(['remove'])).stdout)).toEqual({ removed: false });
    expect(calls()).toEqual([]);
  });

  it('find the manager of the user over SSH, where no variable names it', async () => {
    tool('systemctl', 'echo "$XDG_RUNTIME_DIR" >> "$HOME/calls"');
    await service(['install', '--root', root()]);
    expect(calls()).toContain(`/run/user/${user.uid}`);
  });

  it('set up, renew and remove a launchd agent', async () => {
    const { code, stdout } = await service(['install', '--root', root()], 'darwin');
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { installed: agentFile() }]);
    expect(calls()).toEqual([`launchctl bootstrap gui/${user.uid} ${agentFile()}`]);
    await service(['install', '--root', root(), '--port', '9300'], 'darwin');
    expect(calls()[0]).toBe(`launchctl bootout gui/${user.uid}/dev.rbee.hive`);
    expect(JSON.parse((await service(['remove'], 'darwin')).stdout)).toEqual({ removed: true });
    expect(existsSync(agentFile())).toBe(false);
  });

  it.each([
    ['loginctl', 'linux' as const, /loginctl enable-linger .*: no bus\n\n.*sudo loginctl enable-linger/],
    ['systemctl', 'linux' as const, /systemctl --user daemon-reload: no bus\n/],
    ['launchctl', 'darwin' as const, /launchctl bootstrap .*: no bus\n\n.*log in at this Mac/],
  ])('leave nothing behind when %s fails', async (name, platform, expected) => {
    tool(name, 'echo "no bus" >&2; exit 1');
    const { code, stdout, stderr } = await service(['install', '--root', root()], platform);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(expected);
    expect([existsSync(unitFile()), existsSync(agentFile())]).toEqual([false, false]);
  });

  it('keep the service there was when a new one cannot be set up', async () => {
    await service(['install', '--root', root(), '--port', '9300']);
    const before = readFileSync(unitFile(), 'utf8');
    tool('systemctl', 'case "$*" in *restart*) exit 1;; esac');
    expect((await service(['install', '--root', root(), '--port', '9301'])).code).toBe(1);
    expect(readFileSync(unitFile(), 'utf8')).toBe(before);
    expect(calls().slice(-2)).toEqual(['systemctl --user daemon-reload', 'systemctl --user start rbee-hive.service']);
  });

  it('say that a machine has no service manager', async () => {
    const none = join(home, 'none');
    const { code, stderr } = await service(['install', '--root', root()], 'linux', none);
    expect(code).toBe(1);
    expect(stderr).toMatch(/loginctl enable-linger .*: there is no such program/);
    expect((await service(['install', '--root', root()], 'freebsd')).stderr).toMatch(/no service for freebsd/);
  });

  it('start a plain checkout as well, and say when there is nothing to start', async () => {
    rmSync(join(root(), 'current'), { recursive: true });
    expect((await service(['install', '--root', root()])).stderr).toMatch(/there is no rbee-hive in .*rbee/);
    install();
    expect(JSON.parse((await service(['install', '--root', root()])).stdout)).toMatchObject({ launcher: launcher() });
    const missing = await service(['install', '--root', root(), '--node', join(home, 'no-node')]);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/there is no Node\.js at /)]);
  });

  it.each([
    ['install', '--port', '80'],
    ['install', '--port', '9200; reboot'],
    ['install', '--node', ''],
    ['install', '--node', '/bin/node\nExecStartPre=/bin/false'],
    ['install', '--root', '/r\u0000'],
    ['remove', '--root', '/x'],
  ])('refuse %j %j %j', async (...args) => {
    const { code, stdout } = await service(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(calls()).toEqual([]);
  });
});
