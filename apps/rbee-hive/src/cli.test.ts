import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { freePort } from '../test/hive-program.js';
import { type CommandOptions, runCommand } from '../test/run-command.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'rbee-cli-'));
});
afterEach(() => rmSync(home, { recursive: true }));

/** Runs a command line; `onOutput` hears of each piece of standard output. */
const run = (args: string[], variables = {}, onOutput: CommandOptions['onOutput'] = () => {}) =>
  runCommand(args, { home, cwd: home, variables, onOutput });

describe('runCli', () => {
  it.each([
    ['--version', /^0\.1\.0\n$/],
    ['--help', /Usage:\n {2}rbee-hive daemon/],
  ])('answers %s', async (flag, expected) => {
    await expect(run([flag])).resolves.toMatchObject({ code: 0, stdout: expect.stringMatching(expected), stderr: '' });
  });

  it.each([
    [[]],
    [['demon']],
    [['daemon', '--prot', '1']],
    [['detect', 'now']],
    [['daemon', '--port']],
    [['detect', '--detach']],
    [['release']],
    [['release', 'forget']],
    [['release', 'list', 'all', '--root', '/x']],
    [['serviceremove']],
  ])('answers %j with the usage on standard error', async (args) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^\[rbee-hive\] Error: .+\n\nUsage: rbee-hive .+\nHelp: {2}rbee-hive --help\n$/);
  });

  it('detects the machine, as text and as JSON', async () => {
    const probeFile = join(home, 'probe.json');
    writeFileSync(probeFile, '{"backends":[{"name":"cpu","devices":1},{"name":"cuda","devices":2}]}');
    const text = await run(['detect'], { RBEE_PROBE_FILE: probeFile });
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(
      /Total devices: 3[\s\S]*backends: \["cpu","cuda"\][\s\S]*devices: \{"cpu":1,"cuda":2\}/,
    );
    const { stdout } = await run(['detect', '--json'], { RBEE_PROBE_FILE: probeFile });
    expect(JSON.parse(stdout)).toEqual({ backends: ['cpu', 'cuda'], devices: { cpu: 1, cuda: 2 }, total_devices: 3 });
  });

  it('runs the daemon until a signal comes, and prints where it listens', async () => {
    const port = await freePort();
    const { code, stdout } = await run(['daemon', '--port', String(port)], { RBEE_SILENT: '1' }, (_text, signals) => {
      setImmediate(() => signals.emit('SIGTERM'));
    });
    expect([code, stdout]).toEqual([0, `rbee-hive 0.1.0 listens on http://127.0.0.1:${port}\n`]);
  });

  it('names a taken port and what to do, without a stack', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, stdout, stderr } = await run(['daemon', '--port', String(port)]);
    await new Promise((resolve) => server.close(resolve));
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(new RegExp(`Error: .*port ${port} .*in use[\\s\\S]*--port`));
    expect(stderr).not.toMatch(/^ +at /m);
  });

  it('names a home that cannot be written', async () => {
    writeFileSync(join(home, '.rbee'), 'a file where a folder belongs');
    const { code, stderr } = await run(['daemon', '--port', String(await freePort())]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/Error: cannot create the folder .*\.rbee/);
  });
});
