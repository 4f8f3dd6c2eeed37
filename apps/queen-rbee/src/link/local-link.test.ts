import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  callJson,
  DEFAULT_TIMEOUTS,
  identify,
  type Logger,
  type ProcessIdentity,
  Secret,
  type Spoken,
  silentLogger,
  systemClock,
  type Timeouts,
} from '@rbee/daemon-kit';
import { hiveRoutes } from '@rbee/protocol';
import { LocalHiveKey } from './local-hive-key.js';
import { LocalLink } from './local-link.js';
import { StartedHiveRecord } from './started-hive-record.js';

const TINY_HIVE = fileURLToPath(new URL('../testing/tiny-hive.mjs', import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('LocalLink', () => {
  let folder: string;
  let hivePort: number;
  let said: Spoken[];
  let links: LocalLink[];
  let logged: { readonly message: string; readonly [field: string]: unknown }[];
  const log: Logger = { ...silentLogger, info: (fields, message) => logged.push({ ...fields, message }) };
  const narrate = (spoken: Spoken) => said.push(spoken);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'queen-link-'));
    hivePort = await freePort();
    said = [];
    links = [];
    logged = [];
  });
  afterEach(async () => {
    for (const link of links) {
      await link.stopHive(narrate);
      await link.close();
    }
    rmSync(folder, { recursive: true, force: true });
  });

  const record = (queen: ProcessIdentity) => new StartedHiveRecord(join(folder, 'run/hive.json'), queen);
  const me = () => identify(process.pid) as ProcessIdentity;
  /** A queen that has been killed: its start time is nobody's. */
  const killedQueen = () => record({ pid: process.pid, startTime: 'long ago' });

  const outputOf = () => join(folder, 'rbee-hive.out.log');
  const readingsOf = () => readFileSync(outputOf(), 'utf8').match(/read again/g)?.length ?? 0;
  /** A child's output comes without an event of its own. */
  const untilRead = async (times: number) => {
    while (readingsOf() < times) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const keyFile = () => join(folder, 'secrets', 'hive.token');
  const writeKey = (key: string, file = keyFile()) => {
    mkdirSync(join(folder, 'secrets'), { recursive: true });
    writeFileSync(file, `${key}\n`, { mode: 0o600 });
    return file;
  };
  const list = (link: LocalLink) => callJson(link.hive, hiveRoutes.listWorkers);
  const listWithoutKey = () => fetch(`http://127.0.0.1:${hivePort}/v1/workers/list`);

  const build = (
    behaviour: string,
    timeouts: Partial<Timeouts> = {},
    command = process.execPath,
    noted: StartedHiveRecord = record(me()),
    { configured, stateFolder = folder }: { configured?: string; stateFolder?: string } = {},
  ) => {
    const hiveKey = new LocalHiveKey({ configured, stateFolder });
    const variables = { ...process.env, RBEE_HIVE_TOKEN_FILE: hiveKey.file };
    const outputFile = outputOf();
    const note = "require('node:fs').writeFileSync(process.argv[1], process.argv.slice(2).join(' '))";
    const cleanUpArgs = ({ pid, startTime }: ProcessIdentity) => [
      ...['-e', note, join(folder, 'cleaned-up')],
      ...[String(pid), String(startTime)],
    ];
    const args = [TINY_HIVE, behaviour, 'daemon', '--port', String(hivePort), '--owned'];
    const link = new LocalLink({
      clock: systemClock,
      log,
      timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
      hivePort,
      hiveKey,
      hiveCommand: { command, args, variables, outputFile, cleanUpArgs },
      record: noted,
    });
    links.push(link);
    return link;
  };

  it('finds no hive where nothing listens', async () => {
    expect(await build('healthy').findHive()).toBeUndefined();
  });

  it('starts a hive, once for all who ask at the same time, and ends it', async () => {
    const link = build('healthy');
    const [first, second] = await Promise.all([link.startHive(narrate), link.startHive(narrate)]);
    expect(second).toBe(first);
    expect(identify(first?.pid ?? 0)).toBeDefined();
    expect(said.map(({ action }) => action)).toEqual(['hive_start', 'hive_start']);
    expect(said[1]?.human).toContain(`pid ${first?.pid}`);
    expect(readFileSync(join(folder, 'rbee-hive.out.log'), 'utf8').match(/tiny hive/g)).toHaveLength(1);
    await link.stopHive(narrate);
    expect(identify(first?.pid ?? 0)).toBeUndefined();
    expect(existsSync(join(folder, 'cleaned-up'))).toBe(false);
  });

  it('takes over the hive of a killed queen, and ends it', async () => {
    const { pid = 0 } = await build('healthy', {}, process.execPath, killedQueen()).startHive(narrate);
    // That queen is no more: nothing of it may end the hive.
    links.length = 0;
    const next = build('healthy');
    expect(await next.findHive()).toMatchObject({ pid });
    expect(next.ownsHive).toBe(true);
    await expect(next.stopHive(narrate)).resolves.toBe(true);
    expect(identify(pid)).toBeUndefined();
    expect(existsSync(join(folder, 'run/hive.json'))).toBe(false);
  });

  it('ends the hive of a killed queen that it has not met', async () => {
    const { pid = 0 } = await build('healthy', {}, process.execPath, killedQueen()).startHive(narrate);
    links.length = 0;
    await expect(build('healthy').stopHive(narrate)).resolves.toBe(true);
    expect(identify(pid)).toBeUndefined();
  });

  it('ends the workers of a hive that was killed together with its queen', async () => {
    const { pid = 0 } = await build('healthy', {}, process.execPath, killedQueen()).startHive(narrate);
    links.length = 0;
    const hive = identify(pid) as ProcessIdentity;
    process.kill(pid, 'SIGKILL');
    while (identify(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
    await expect(build('healthy').stopHive(narrate)).resolves.toBe(false);
    expect(readFileSync(join(folder, 'cleaned-up'), 'utf8')).toBe(`${pid} ${hive.startTime}`);
  });

  it('leaves a hive alone whose queen still runs', async () => {
    const { pid = 0 } = await build('healthy').startHive(narrate);
    const other = build('healthy');
    await other.findHive();
    expect(other.ownsHive).toBe(false);
    await expect(other.stopHive(narrate)).resolves.toBe(false);
    expect(identify(pid)).toBeDefined();
  });

  it('leaves a hive alone that it did not start', async () => {
    const owner = build('healthy');
    const { pid } = await owner.startHive(narrate);
    const link = build('healthy');
    expect(await link.findHive()).toMatchObject({ status: 'alive', pid });
    await link.stopHive(narrate);
    expect(identify(pid ?? 0)).toBeDefined();
  });

  it('uses the hive of another queen that got the port first, and leaves that alone as well', async () => {
    const winner = build('healthy');
    const { pid } = await winner.startHive(narrate);
    const loser = build('healthy');
    expect(await loser.startHive(narrate)).toMatchObject({ pid });
    expect(await loser.stopHive(narrate)).toBe(false);
    expect(identify(pid ?? 0)).toBeDefined();
  });

  it('reports a hive that ends before it is healthy, with its last lines and no secrets', async () => {
    const link = build('exits');
    await expect(link.startHive(narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining('exit code 3'),
      details: {
        port: hivePort,
        last_output: [expect.stringContaining('tiny hive'), 'cannot open the catalog: token=[REDACTED]'],
      },
    });
  });

  it('reports what the hive itself says is wrong', async () => {
    await expect(build('explains').startHive(narrate)).rejects.toMatchObject({
      message: 'the hive of localhost ended before it was healthy (exit code 1): port 1 is taken',
    });
  });

  it('reports only the lines of this start', async () => {
    const link = build('exits');
    await link.startHive(narrate).catch(() => undefined);
    await expect(link.startHive(narrate)).rejects.toMatchObject({ details: { last_output: { length: 2 } } });
  });

  it('reports a program that cannot be started', async () => {
    const link = build('healthy', {}, join(folder, 'nothing-here'));
    await expect(link.startHive(narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining('ENOENT'),
    });
  });

  it('gives up on a hive that does not become healthy, and ends it', async () => {
    const link = build('silent', { local_hive_healthy: 300 });
    await expect(link.startHive(narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining('within 300 ms'),
    });
    expect(await link.findHive()).toBeUndefined();
  });

  it('does not take another program for a hive', async () => {
    const link = build('ill', { local_hive_healthy: 3_000 });
    await expect(link.startHive(narrate)).rejects.toMatchObject({ code: 'INVALID_RESPONSE' });
  });

  it('kills a hive that does not end in time, has its workers ended, and says so', async () => {
    const link = build('stubborn', { queen_waits_for_hives: 200 });
    const { pid } = await link.startHive(narrate);
    const { startTime } = identify(pid ?? 0) ?? {};
    await link.stopHive(narrate);
    expect(readFileSync(join(folder, 'cleaned-up'), 'utf8')).toBe(`${pid} ${startTime}`);
    expect(identify(pid ?? 0)).toBeUndefined();
    expect(said.at(-1)).toMatchObject({
      action: 'shutdown',
      level: 'warn',
      human: expect.stringContaining(`pid ${pid}`),
    });
  });

  it('has the workers ended of a hive that somebody kills in the moment in which it is to end', async () => {
    const link = build('dying');
    const { pid } = await link.startHive(narrate);
    const { startTime } = identify(pid ?? 0) ?? {};
    expect(await link.stopHive(narrate)).toBe(true);
    expect(readFileSync(join(folder, 'cleaned-up'), 'utf8')).toBe(`${pid} ${startTime}`);
  });

  it('ends a hive that is still starting when it is to stop, and starts none after it was closed', async () => {
    const link = build('silent');
    const starting = link.startHive(narrate);
    starting.catch(() => undefined);
    expect(await link.stopHive(narrate)).toBe(false);
    await expect(starting).rejects.toMatchObject({ code: 'CANCELLED' });
    const again = link.startHive(narrate);
    again.catch(() => undefined);
    await link.close();
    await expect(again).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(link.startHive(narrate)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('starts a hive again after one was stopped, also when it is asked to at the same time', async () => {
    const link = build('healthy');
    const first = await link.startHive(narrate);
    expect(link.ownsHive).toBe(true);
    const stopping = link.stopHive(narrate);
    const second = await link.startHive(narrate);
    expect(await stopping).toBe(true);
    expect(identify(first.pid ?? 0)).toBeUndefined();
    expect(second.pid).not.toBe(first.pid);
    expect(await link.stopHive(narrate)).toBe(true);
    expect(link.ownsHive).toBe(false);
  });

  it('starts a hive again after the first one died', async () => {
    const link = build('healthy');
    const first = await link.startHive(narrate);
    process.kill(first.pid ?? 0, 'SIGKILL');
    for (let tries = 0; tries < 200 && identify(first.pid ?? 0); tries++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await link.findHive()).toBeUndefined();
    const second = await link.startHive(narrate);
    expect(second.pid).not.toBe(first.pid);
  });

  it('has the workers ended of a hive that was killed, when no other has taken them over', async () => {
    const link = build('healthy');
    const { pid = 0 } = await link.startHive(narrate);
    const { startTime } = identify(pid) ?? {};
    process.kill(pid, 'SIGKILL');
    for (let tries = 0; tries < 200 && link.ownsHive; tries++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await link.stopHive(narrate)).toBe(false);
    expect(readFileSync(join(folder, 'cleaned-up'), 'utf8')).toBe(`${pid} ${startTime}`);
    rmSync(join(folder, 'cleaned-up'));
    await link.stopHive(narrate);
    expect(existsSync(join(folder, 'cleaned-up'))).toBe(false);
  });

  it('makes a key for the hive that it starts, and says once which one it calls it with', async () => {
    const link = build('healthy');
    expect(await link.findHive()).toBeUndefined();
    await link.startHive(narrate);
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    expect((await listWithoutKey()).status).toBe(401);
    expect(await list(link)).toEqual({ workers: [] });
    await list(link);
    const identity = new Secret(readFileSync(keyFile(), 'utf8').trim()).fingerprint;
    const told = { message: 'calling the hive with this key', node: 'localhost', identity };
    expect(logged.filter(({ message }) => message === told.message)).toEqual([told]);
  });

  it('gives its hive the key that the configuration names', async () => {
    const configured = writeKey('our own key', join(folder, 'our.key'));
    const link = build('healthy', {}, process.execPath, record(me()), { configured });
    await link.startHive(narrate);
    expect(await list(link)).toEqual({ workers: [] });
    expect((await listWithoutKey()).status).toBe(401);
    expect(existsSync(keyFile())).toBe(false);
  });

  it('calls a hive that it finds with the key of the file, also when that is made later or replaced', async () => {
    const link = build('healthy');
    const owner = build('healthy');
    await list(link).catch(() => undefined);
    await owner.startHive(narrate);
    expect(await list(link)).toEqual({ workers: [] });
    writeKey('another one');
    owner.reloadHive();
    await untilRead(1);
    expect(await list(link)).toEqual({ workers: [] });
  });

  it('names the node, the service and the setting when the hive does not take the key', async () => {
    await build('healthy').startHive(narrate);
    const configured = writeKey('a key of something else', join(folder, 'other.key'));
    const link = build('healthy', {}, process.execPath, record(me()), { configured });
    await expect(list(link)).rejects.toMatchObject({
      code: 'INVALID_API_KEY',
      message: 'the rbee-hive of localhost rejected the key of the queen',
      details: { service: 'rbee-hive', node: 'localhost', reason: 'invalid_token' },
      suggestion: expect.stringContaining('auth.hive_token_file'),
    });
  });

  it('starts no hive where there can be no key', async () => {
    writeFileSync(join(folder, 'a-file'), '');
    const link = build('healthy', {}, process.execPath, record(me()), { stateFolder: join(folder, 'a-file') });
    await expect(link.startHive(narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringMatching(/^the hive of localhost cannot have a key: .*ENOTDIR/),
      suggestion: expect.any(String),
    });
    expect(existsSync(outputOf())).toBe(false);
  });

  it('has the hive that it owns read its key again, and no other one, while calls go on', async () => {
    const owner = build('healthy');
    await owner.startHive(narrate);
    const other = build('healthy');
    await other.findHive();
    await list(owner);
    writeKey('the next key');
    expect(await list(owner)).toEqual({ workers: [] });
    other.reloadHive();
    owner.reloadHive();
    await untilRead(1);
    expect(await list(owner)).toEqual({ workers: [] });
    expect(readingsOf()).toBe(1);
  });

  it('has a hive that is starting read its key again once it runs', async () => {
    const link = build('healthy');
    await link.startHive((spoken) => {
      if (/starting one/.test(spoken.human)) link.reloadHive();
    });
    await untilRead(1);
    expect(readingsOf()).toBe(1);
  });
});
