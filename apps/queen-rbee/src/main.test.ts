import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { VERSION } from '@rbee/protocol';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

describe('the queen-rbee program', () => {
  let home: string;
  let taken: Server;
  let children: ChildProcess[];

  beforeEach(async () => {
    home = mkdtempSync(join(tmpdir(), 'queen-main-'));
    children = [];
    taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
  });
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL');
    await new Promise((resolve) => taken.close(resolve));
    rmSync(home, { recursive: true, force: true });
  });

  const takenPort = () => (taken.address() as AddressInfo).port;
  const start = (args: string[], variables: Record<string, string> = {}) => {
    const env = { PATH: process.env.PATH, HOME: home, ...variables };
    const child = spawn(process.execPath, ['--import', 'tsx', MAIN, ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (output.stdout += chunk));
    child.stderr.on('data', (chunk) => (output.stderr += chunk));
    const ended = new Promise<Ended>((resolve) => child.once('close', (code) => resolve({ code, ...output })));
    const listening = new Promise<string>((resolve) => {
      child.stdout.on('data', () => {
        const url = /listening on (\S+)\n/.exec(output.stdout)?.[1];
        if (url) resolve(url);
      });
    });
    return { child, ended, listening };
  };
  const run = (args: string[], variables?: Record<string, string>) => start(args, variables).ended;

  it('prints its version and its help', async () => {
    const [version, help] = await Promise.all([run(['--version']), run(['--help'])]);
    expect(version).toMatchObject({ code: 0, stdout: `queen-rbee ${VERSION}\n` });
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: queen-rbee') });
  });

  it('ends with 2 for flags that it does not know', async () => {
    const { code, stderr } = await run(['--prot', '1']);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/^\[queen-rbee\] Error: .*--prot.*\n\nUsage: queen-rbee/),
    ]);
  });

  it('ends with 1 when its port is taken, and names the port', async () => {
    const { code, stderr } = await run(['--port', String(takenPort())]);
    expect(code).toBe(1);
    expect(stderr).toContain(`port ${takenPort()} on 127.0.0.1 is in use`);
  });

  it('ends with 1 when it cannot write to the home folder, and says what to do', async () => {
    const file = join(home, 'no-folder');
    writeFileSync(file, '');
    const { code, stderr } = await run([], { HOME: file });
    expect(code).toBe(1);
    expect(stderr).toContain('cannot create the folder');
    expect(stderr).toContain('write permission');
  });

  it('says where it listens, logs to its file, and ends with 0 on SIGTERM', async () => {
    const free = takenPort();
    await new Promise((resolve) => taken.close(resolve));
    const { child, listening, ended } = start(['daemon', '--port', String(free)], { RBEE_SILENT: '1' });
    const url = await listening;
    expect(url).toBe(`http://127.0.0.1:${free}`);
    const health = await (await fetch(`${url}/health`)).json();
    expect(health).toMatchObject({ status: 'ok', pid: child.pid });
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 0, stderr: '' });
    const lines = readFileSync(join(home, '.rbee', 'logs', 'queen-rbee.log'), 'utf8')
      .trim()
      .split('\n');
    const messages = lines.map((line) => JSON.parse(line).msg);
    expect(messages).toContain('listening');
    expect(messages.at(-1)).toBe('shut down');
    taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
  });
});
