import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { TestHive, type TestHiveOptions } from '../test/test-hive.js';

const running: TestHive[] = [];
const start = async (options: TestHiveOptions) => {
  const hive = await TestHive.start(options);
  running.push(hive);
  return hive;
};
afterEach(async () => {
  for (const hive of running.splice(0)) await hive.stop();
});

const logFile = (hive: TestHive) => join(hive.home, '.rbee/logs/rbee-hive.log');
const linesOf = (hive: TestHive): Record<string, unknown>[] =>
  readFileSync(logFile(hive), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
/** The lines of the last load or reload, which one id links. */
const told = (hive: TestHive, action: 'config_load' | 'config_reload') => {
  const id = linesOf(hive).findLast((line) => line.action === action)?.correlation_id;
  return linesOf(hive).filter((line) => line.correlation_id === id);
};
const line = (fields: object) => expect.objectContaining(fields);

describe('a hive that reads its configuration again', () => {
  it('lets more workers in, with the new number of slots', async () => {
    const hive = await start({ file: '[limits]\nmax_workers = 1\n' });
    const first = await hive.ready({ pinned: true });
    await expect(hive.spawn()).rejects.toMatchObject({ code: 'WORKER_SPAWN_FAILED' });
    await hive.reload('[limits]\nmax_workers = 2\nslots_per_worker = 3\n');
    const second = await hive.ready();
    const ids = (await hive.workers()).map(({ worker_id }) => worker_id);
    expect(ids).toEqual([first.worker_id, second.worker_id]);
    expect(await hive.worker(second.worker_id)).toMatchObject({ slots_total: 3 });
    const file = join(hive.home, '.config/rbee/config.toml');
    const changed = [
      { key: 'limits.max_workers', from: '1', to: '2' },
      { key: 'limits.slots_per_worker', from: 'none', to: '3' },
    ];
    const loaded = { target: 'config.toml', duration_ms: expect.any(Number) };
    expect(told(hive, 'config_load')).toContainEqual(line(loaded));
    expect(told(hive, 'config_reload')).toContainEqual(line({ file, changed: expect.arrayContaining(changed) }));
  });

  it('keeps every value when the file has a mistake, and says which', async () => {
    const hive = await start({ file: '[limits]\nmax_workers = 1\n' });
    await hive.ready({ pinned: true });
    await hive.reload('[limits]\nmax_workers = "a-lot"\n[log]\nlevel = "error"\n');
    await expect(hive.spawn()).rejects.toMatchObject({ code: 'WORKER_SPAWN_FAILED' });
    const lines = told(hive, 'config_reload');
    expect(lines).toContainEqual(
      line({ level: 'error', msg: expect.stringMatching(/config\.toml: limits\.max_workers/) }),
    );
    expect(JSON.stringify(lines)).not.toContain('a-lot');
  });

  it('looks after its workers as often as it is told now', async () => {
    const hive = await start({ file: '[timeouts]\nhealth_poll = "1h"\n' });
    const worker = await hive.ready();
    await hive.tell(worker, { health: 'bad' });
    await hive.reload('[timeouts]\nhealth_poll = "50ms"\n');
    // Soon afterwards it has gone.
    await hive.until((workers) => workers.every(({ state }) => state === 'unhealthy'));
  });

  it('logs as much as it is told now, and into a new file where the former one was renamed', async () => {
    const hive = await start({ file: '[log]\nlevel = "error"\n', variables: { RBEE_LOG_LEVEL: undefined } });
    expect(readFileSync(logFile(hive), 'utf8')).toBe('');
    renameSync(logFile(hive), `${logFile(hive)}.1`);
    await hive.reload('[log]\nlevel = "info"\n[pool]\nlisten_addr = "127.0.0.1:9999"\n');
    const restart = { level: 'warn', key: 'pool.listen_addr', msg: 'takes effect after a restart: pool.listen_addr' };
    expect(told(hive, 'config_reload')).toContainEqual(line(restart));
  });

  it('says which variable wins over the file', async () => {
    const hive = await start({
      file: '[pool]\nrestart_workers = true\n',
      variables: { RBEE_RESTART_WORKERS: '0', HF_TOKEN: 'hf_of_nobody_else' },
    });
    const override = {
      key: 'pool.restart_workers',
      source: 'RBEE_RESTART_WORKERS',
      value: 'false',
      file_value: 'true',
    };
    expect(told(hive, 'config_load')).toContainEqual(line(override));
    expect(readFileSync(logFile(hive), 'utf8')).not.toContain('hf_of_nobody_else');
  });
});

describe('the key of a hive', () => {
  const write = (home: string, key: string, mode = 0o600) => {
    rmSync(join(home, 'key'), { force: true });
    writeFileSync(join(home, 'key'), `${key}\n`, { mode });
  };
  const FILE = '[auth]\nhive_token_file = "~/key"\n';

  it('is another one after it was read again, and stays when the new one cannot be used', async () => {
    const home = mkdtempSync(join(tmpdir(), 'rbee-hive-'));
    write(home, 'the-first-key');
    const hive = await start({ home, file: FILE });
    const ask = async (key: string) => {
      const headers = { authorization: `Bearer ${key}` };
      return (await fetch(`${hive.hive.url}/v1/workers/list`, { headers })).status;
    };
    const worker = await hive.ready();
    write(home, 'the-second-key');
    await hive.reload(FILE);
    expect([await ask('the-first-key'), await ask('the-second-key')]).toEqual([401, 200]);
    // Workers go on calling back with their own.
    await hive.tell(worker, { jobs: 2 });
    await hive.until(([one]) => one?.state === 'busy');

    write(home, 'the-third-key', 0o644);
    await hive.reload(`${FILE}[limits]\nmax_workers = 1\n`);
    expect([await ask('the-third-key'), await ask('the-second-key')]).toEqual([401, 200]);
    await hive.ready();
    expect(await hive.workers()).toHaveLength(2);
    expect(told(hive, 'config_reload')).toContainEqual(line({ level: 'error', msg: expect.stringContaining('0644') }));
    const all = readFileSync(logFile(hive), 'utf8');
    expect(all).not.toMatch(/the-(?:first|second|third)-key/);
  });

  it('is told at the start by its fingerprint and where it comes from; or that there is none', async () => {
    const home = mkdtempSync(join(tmpdir(), 'rbee-hive-'));
    write(home, 'a-key-of-its-own');
    const keyed = await start({ home, file: FILE });
    expect(linesOf(keyed)).toContainEqual(
      line({ source: 'file', identity: expect.stringMatching(/^token:[0-9a-f]{6}$/) }),
    );
    const open = await start({ file: '' });
    expect(linesOf(open)).toContainEqual(
      line({ host: '127.0.0.1', msg: expect.stringMatching(/authentication is off/) }),
    );
  });
});
