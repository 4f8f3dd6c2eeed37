import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { endProcess, isRunning, type ProcessIdentity, sleep, systemClock } from '@rbee/daemon-kit';
import { freePort, runProgram } from '../test/hive-program.js';
import { INSTALLATION_ROOT } from './installation.js';

// Each test starts up to four programs whose sources are read anew.
jest.setTimeout(60_000);

let home: string;
let port: number;
const started: ProcessIdentity[] = [];
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'rbee-detach-'));
  port = await freePort();
});
afterEach(async () => {
  for (const hive of started.splice(0)) await endProcess(hive, systemClock, 5000);
  rmSync(home, { recursive: true });
});

const output = () => join(home, '.rbee', 'logs', 'rbee-hive.out.log');

async function detach(args: string[] = [], variables = {}) {
  const outcome = await runProgram(['daemon', '--detach', '--port', String(port), ...args], { home, variables });
  if (outcome.code !== 0) throw new Error(outcome.stderr);
  const lines = outcome.stdout.trim().split('\n');
  const answer = JSON.parse(lines[0] ?? '') as { pid: number; start_time: string };
  const hive = { pid: answer.pid, startTime: answer.start_time };
  started.push(hive);
  return { hive, lines };
}

/** What the hive answers, once it does; fails as soon as its process has gone. */
async function healthOf(hive: ProcessIdentity): Promise<unknown> {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/health`).catch(() => undefined);
    if (answer) return answer.json();
    if (!isRunning(hive)) throw new Error(readFileSync(output(), 'utf8'));
    await sleep(systemClock, 25);
  }
}

describe('daemon --detach', () => {
  it('leaves a hive behind that holds nothing of its starter, says which process it is, and can be stopped', async () => {
    // That this returns at all shows that the hive has not kept the pipes of its starter.
    const { hive, lines } = await detach(['--owned']);
    expect(lines).toHaveLength(1);
    expect(await healthOf(hive)).toMatchObject({ status: 'alive', pid: hive.pid });
    expect(statSync(output()).mode & 0o777).toBe(0o600);
    expect(readFileSync(output(), 'utf8')).toMatch(/^\d{4}-.*Z starting rbee-hive 0\.1\.0\n/);
    const record = join(home, '.rbee', 'run', 'hives', `${hive.pid}.json`);
    expect(JSON.parse(readFileSync(record, 'utf8'))).toEqual({ ...hive, installation: INSTALLATION_ROOT });
    if (process.platform === 'linux') {
      const fields = readFileSync(`/proc/${hive.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      expect(fields[3]).toBe(String(hive.pid)); // its session
      expect(readlinkSync(`/proc/${hive.pid}/cwd`)).toBe(home);
      expect(readlinkSync(`/proc/${hive.pid}/fd/0`)).toBe('/dev/null');
    }
    const stop = (startTime: string) =>
      runProgram(['stop', '--pid', String(hive.pid), '--start-time', startTime, '--grace', '10s'], { home });
    expect(JSON.parse((await stop('12345')).stdout)).toEqual({ ended: true, killed: false, was_running: false });
    expect(isRunning(hive)).toBe(true);
    const { code, stdout } = await stop(String(hive.startTime));
    expect([code, JSON.parse(stdout)]).toEqual([0, { ended: true, killed: false, was_running: true }]);
    expect(isRunning(hive)).toBe(false);
    expect(existsSync(record)).toBe(false);
  });

  it('gives a relative configuration file and the environment on', async () => {
    writeFileSync(join(home, 'key'), 'secret\n', { mode: 0o600 });
    writeFileSync(join(home, 'my.toml'), '[limits]\nmax_workers = 1\n');
    const { hive } = await detach(['--config', 'my.toml'], { RBEE_HIVE_TOKEN_FILE: join(home, 'key') });
    await healthOf(hive);
    const status = async (headers: Record<string, string>) =>
      (await fetch(`http://127.0.0.1:${port}/v1/workers/list`, { headers })).status;
    expect([await status({}), await status({ Authorization: 'Bearer secret' })]).toEqual([401, 200]);
    if (process.platform !== 'linux') return;
    expect(readFileSync(`/proc/${hive.pid}/cmdline`, 'utf8')).toContain(`--config=${join(home, 'my.toml')}`);
  });

  it('fails at once when the configuration is wrong', async () => {
    const { code, stdout, stderr } = await runProgram(['daemon', '--detach', '--port', 'nine'], { home });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/--port/);
  });

  it.each([
    ['a folder in its place', () => mkdirSync(output()), /cannot be written \(EISDIR\)/],
    ['a full disk', () => symlinkSync('/dev/full', output()), /cannot be written \(the disk is full\)[\s\S]*df -h/],
  ])('fails at once when its log cannot be written: %s', async (_what, prepare, expected) => {
    mkdirSync(join(home, '.rbee', 'logs'), { recursive: true });
    prepare();
    const { code, stdout, stderr } = await runProgram(['daemon', '--detach', '--port', String(port)], { home });
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(expected);
    expect(stderr).not.toMatch(/^ +at /m);
  });
});
