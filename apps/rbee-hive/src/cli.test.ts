import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { processEnvironment } from '@rbee/daemon-kit';
import { runCli } from './cli.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'rbee-cli-'));
});
afterEach(() => rmSync(home, { recursive: true }));

/** Runs a command line with its output captured; `onOutput` hears of each piece of standard output. */
async function run(args: string[], variables = {}, onOutput: (text: string, signals: EventEmitter) => void = () => {}) {
  const text = { stdout: '', stderr: '' };
  const signals = new EventEmitter();
  const capture = (name: keyof typeof text) =>
    new Writable({
      write(chunk, _encoding, done) {
        text[name] += chunk;
        if (name === 'stdout') onOutput(text.stdout, signals);
        done();
      },
    }) as unknown as NodeJS.WriteStream;
  const environment = {
    ...processEnvironment(),
    ...{ args, home, cwd: home, variables },
    stdout: capture('stdout'),
    stderr: capture('stderr'),
  };
  const code = await runCli(environment, signals);
  return { code, ...text };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('runCli', () => {
  it.each([
    ['--version', /^0\.1\.0\n$/],
    ['--help', /Usage:\n {2}rbee-hive daemon/],
  ])('answers %s', async (flag, expected) => {
    await expect(run([flag])).resolves.toMatchObject({ code: 0, stdout: expect.stringMatching(expected), stderr: '' });
  });

  it.each([[[]], [['demon']], [['daemon', '--prot', '1']], [['detect', 'now']], [['daemon', '--port']]])(
    'answers %j with the usage on standard error',
    async (args) => {
      const { code, stdout, stderr } = await run(args);
      expect([code, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^\[rbee-hive\] Error: .+\n\nUsage: rbee-hive .+\nHelp: {2}rbee-hive --help\n$/);
    },
  );

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
