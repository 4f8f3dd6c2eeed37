import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, identify } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';
import { LocalMachine } from '../ssh/testing/local-machine.js';
import { RemoteHive } from './remote-hive.js';

describe('RemoteHive', () => {
  let home: string;
  let remote: RemoteHive;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'remote hive '));
    const machine = new LocalMachine({ variables: { HOME: home, PATH: '/usr/bin:/bin' } });
    remote = new RemoteHive({ machine, node: 'n', timeouts: DEFAULT_TIMEOUTS, hivePort: 9200, installPath: home });
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const secrets = () => join(home, '.rbee', 'secrets');
  const say = (text: string) => ['/bin/sh', '-c', text, 'hive'];

  it('makes one key, whoever comes at the same time, and leaves nothing beside it', async () => {
    expect(await remote.readKey()).toBeUndefined();
    const keys = await Promise.all(Array.from({ length: 8 }, () => remote.provideKey()));
    expect(new Set(keys.map((key) => key.reveal())).size).toBe(1);
    expect(readFileSync(join(secrets(), 'hive.token'), 'utf8')).toBe(`${keys[0]?.reveal()}\n`);
    expect(readdirSync(secrets())).toEqual(['hive.token']);
    expect((await remote.readKey())?.reveal()).toMatch(/^[0-9a-f]{64}$/);
  });

  it('keeps the key that an operator put there', async () => {
    mkdirSync(secrets(), { recursive: true });
    writeFileSync(join(secrets(), 'hive.token'), 'a key "of" theirs $(x)\n', { mode: 0o600 });
    expect((await remote.provideKey()).reveal()).toBe('a key "of" theirs $(x)');
  });

  it('says that the key cannot be written', async () => {
    writeFileSync(join(home, '.rbee'), 'a file');
    await expect(remote.provideKey()).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringMatching(/cannot have a key: .*mkdir/),
      suggestion: expect.stringContaining('df -h'),
    });
  });

  it('passes the port and the key file to the program, in the install path, and reads past what a shell prints', async () => {
    const script =
      'echo "welcome!"; echo "{broken"; printf \'{"pid":42,"start_time":"7","x":"%s|%s|%s"}\\n\' "$*" "$PWD" "$RBEE_HIVE_TOKEN_FILE" | tee out';
    expect(await remote.launch(say(script), 'first')).toEqual({ pid: 42, startTime: '7', outputStart: 0 });
    const { x } = JSON.parse(readFileSync(join(home, 'out'), 'utf8'));
    expect(x).toBe(`daemon --detach --owned --port 9200|${home}|${home}/.rbee/secrets/hive.token`);
  });

  it.each([
    ['exit 1', 'HIVE_START_FAILED', 'the hive of n did not start (exit code 1)'],
    ['echo "[rbee-hive] Error: port 9200 is taken" >&2; exit 1', 'HIVE_START_FAILED', 'port 9200 is taken'],
    ['echo hello', 'HIVE_START_FAILED', 'did not start (exit code 0): hello'],
    ['exec nothing-like-this', 'HIVE_NOT_INSTALLED', 'rbee is not installed on n: '],
  ])('reports a program that does %s', async (script, code, message) => {
    await expect(remote.launch(say(script), 'first')).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it('tells once what a launch answered that nobody heard', async () => {
    const machine = new LocalMachine({ variables: { HOME: home, PATH: '/usr/bin:/bin' } });
    const deaf: Machine = {
      run: async (script, args, options) => {
        // Whoever reads along has gone by the time of the answer.
        await machine.run(`{ ${script}\n} | head -n 2`, args, options);
        throw new RbeeError('SSH_CONNECTION_TIMEOUT', 'it broke off');
      },
      upload: (...args) => machine.upload(...args),
      openSocket: (address) => machine.openSocket(address),
    };
    const cutOff = new RemoteHive({
      ...{ machine: deaf, node: 'n', timeouts: DEFAULT_TIMEOUTS, hivePort: 9200, installPath: home },
    });
    const script = `sleep 0.1; printf '{"pid":42,"start_time":"7"}\\n'`;
    await expect(cutOff.launch(say(script), 'first')).rejects.toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT' });
    expect(await remote.answerOf('second')).toBeUndefined();
    expect(await remote.answerOf('first')).toEqual({ pid: 42, startTime: '7' });
    expect(await remote.answerOf('first')).toBeUndefined();
    await remote.launch(say(script), 'third');
    expect(readdirSync(join(home, '.rbee'))).toEqual([]);
  });

  it('shows only what the hive wrote since it was started', async () => {
    const log = join(home, '.rbee', 'logs', 'rbee-hive.out.log');
    mkdirSync(join(home, '.rbee', 'logs'), { recursive: true });
    writeFileSync(log, 'of an earlier hive\n');
    const hive = await remote.launch(say(`printf '{"pid":42,"start_time":"7"}\\n'`), 'first');
    expect(await remote.lastLines(hive)).toEqual([]);
    appendFileSync(log, `${Array.from({ length: 50 }, (_, line) => `line ${line}`).join('\n')}\n\napi_key=abc\n`);
    const lines = await remote.lastLines(hive);
    expect(lines).toHaveLength(10);
    expect(lines.slice(-2)).toEqual(['line 49', 'api_key=[REDACTED]']);
  });

  it('tells a process that runs from one that has ended or has only its number', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const { pid = 0, startTime = '' } = identify(child.pid ?? 0) ?? {};
    expect(await remote.isRunning({ pid, startTime })).toBe(true);
    expect(await remote.isRunning({ pid, startTime: `${startTime}1` })).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await remote.isRunning({ pid, startTime })).toBe(false);
  });

  it('does not take a process that ended and was not asked for since for one that runs', async () => {
    const parent = spawn('/bin/sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    const fields = () => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ');
    while (fields()[2] !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await remote.isRunning({ pid, startTime: fields()[21] ?? '' })).toBe(false);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  });

  it('reports a stop that failed', async () => {
    const hive = { pid: 42, startTime: '7' };
    const answer = 'echo \'{"ended":true,"killed":true,"was_running":true}\'';
    expect(await remote.stop(say(answer), hive, 1000)).toEqual({ ended: true, killed: true });
    await expect(remote.stop(say('echo "no such option" >&2; exit 2'), hive, 1000)).rejects.toMatchObject({
      code: 'SSH_COMMAND_FAILED',
      details: { node: 'n', exit_status: 2, last_line: 'no such option' },
    });
  });
});
