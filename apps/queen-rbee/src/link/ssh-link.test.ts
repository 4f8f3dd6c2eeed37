import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { callJson, httpTransport, identify, systemClock } from '@rbee/daemon-kit';
import { hiveRoutes, type RbeeError, VERSION } from '@rbee/protocol';
import { CHECKOUT, TestNode } from './testing/test-node.js';

const actionsOf = (node: TestNode) => node.said.map(({ action }) => action);
const humansOf = (node: TestNode, action: string) =>
  node.said.filter((spoken) => spoken.action === action).map(({ human }) => human);

describe('SshLink to the real hive', () => {
  let node: TestNode;

  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(() => node.stop());

  it('checks the machine, starts a hive with a key of its own, uses it, and ends it', async () => {
    const link = node.link({ installPath: CHECKOUT });
    expect(await link.findHive()).toBeUndefined();
    expect(link.ownsHive).toBe(false);
    const health = await link.startHive(node.narrate);
    expect(health).toMatchObject({ version: VERSION, pid: expect.any(Number) });
    expect(actionsOf(node).filter((action) => action !== 'ssh_check')).toEqual([
      ...['ssh_preflight', 'ssh_preflight', 'ssh_preflight'],
      ...['hive_start', 'hive_start'],
    ]);
    expect(humansOf(node, 'ssh_preflight')).toEqual([
      'connected to gpu-box; its SSH server took the key',
      expect.stringMatching(/^gpu-box echoes what it is told, round trip \d+ ms$/),
      "found the hive's program on gpu-box",
    ]);
    expect(link.ownsHive).toBe(true);
    expect(node.owned).toEqual([{ pid: health.pid, startTime: expect.any(String) }]);

    const keyFile = join(node.home, '.rbee', 'secrets', 'hive.token');
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect(statSync(join(node.home, '.rbee', 'secrets')).mode & 0o777).toBe(0o700);
    const stranger = {
      clock: systemClock,
      transport: httpTransport({ name: 'rbee-hive', url: `http://127.0.0.1:${node.hivePort}` }),
    };
    await expect(callJson(stranger, hiveRoutes.listWorkers)).rejects.toMatchObject({ code: 'MISSING_API_KEY' });
    stranger.transport.close();
    expect(await callJson(link.hive, hiveRoutes.listWorkers)).toEqual({ workers: [] });

    // Another queen that reaches the node reads the same key, uses the hive, and leaves it alone.
    const other = node.link({ installPath: CHECKOUT });
    expect(await other.findHive()).toMatchObject({ pid: health.pid });
    expect(await callJson(other.hive, hiveRoutes.listWorkers)).toEqual({ workers: [] });
    expect(other.ownsHive).toBe(false);
    expect(await other.stopHive(node.narrate)).toBe(false);

    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(identify(health.pid ?? 0)).toBeUndefined();
    expect(node.owned.at(-1)).toBeUndefined();
    expect(humansOf(node, 'shutdown')).toEqual([`stopping the hive of gpu-box (pid ${health.pid})`]);
    expect(await link.findHive()).toBeUndefined();
  }, 60_000);
});

describe('SshLink', () => {
  let node: TestNode;

  beforeEach(async () => {
    node = await TestNode.start();
  });
  afterEach(async () => {
    await node.stop();
    expect(node.running).toEqual([]);
  });

  it('starts one hive for all who ask', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    const [first, second] = await Promise.all([link.startHive(node.narrate), link.startHive(node.narrate)]);
    expect(second).toBe(first);
    expect(node.started).toEqual([first?.pid]);
  });

  it('is not confused by what start-up files print', async () => {
    node.installTinyHive('healthy');
    writeFileSync(join(node.home, '.bashrc'), 'echo "welcome, {friend}"; printf "no line end"; echo warning >&2\n');
    const link = node.link();
    const { pid } = await link.startHive(node.narrate);
    expect(node.owned).toEqual([{ pid, startTime: expect.any(String) }]);
    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(node.running).toEqual([]);
  });

  it('outlives its connection, tells of the loss, and finds its hive again', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    const { pid } = await link.startHive(node.narrate);
    const lost = new Promise<RbeeError>((resolve) => link.onLost(resolve));
    node.server.dropConnections();
    expect(await lost).toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT' });
    expect(await link.findHive()).toMatchObject({ pid });
    expect(link.ownsHive).toBe(true);
    link.reset();
    expect(await link.findHive()).toMatchObject({ pid });
  });

  it('owns the hive whose start was cut off before its answer', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    const starting = link.startHive(node.narrate);
    starting.catch(() => undefined);
    await node.cutOffStart();
    await expect(starting).rejects.toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT' });
    const [pid] = node.started;
    while (!(await link.findHive())) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(link.ownsHive).toBe(true);
    expect(node.owned).toEqual([{ pid, startTime: expect.any(String) }]);
    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(node.running).toEqual([]);
  });

  it('ends such a hive also when nobody asked for it since', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    const starting = link.startHive(node.narrate);
    starting.catch(() => undefined);
    await node.cutOffStart();
    await expect(starting).rejects.toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT' });
    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(node.running).toEqual([]);
  });

  it('still owns its hive after the queen was started again', async () => {
    node.installTinyHive('healthy');
    const { pid } = await node.link().startHive(node.narrate);
    const [initialOwned] = node.owned;
    const link = node.link({ initialOwned });
    expect(await link.findHive()).toMatchObject({ pid });
    expect(link.ownsHive).toBe(true);
    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(node.running).toEqual([]);
  });

  it('gives up a hive in whose place another one answers', async () => {
    node.installTinyHive('healthy');
    await node.link().startHive(node.narrate);
    const link = node.link({ initialOwned: { pid: 999_999, startTime: '1' } });
    await link.findHive();
    expect(link.ownsHive).toBe(false);
    expect(node.owned.at(-1)).toBeUndefined();
    expect(await link.stopHive(node.narrate)).toBe(false);
    expect(node.running).toHaveLength(1);
  });

  it('does not connect to end a hive that it never met', async () => {
    const link = node.link({ initialOwned: { pid: 999_999, startTime: '1' } });
    expect(await link.stopHive(node.narrate)).toBe(false);
    expect(node.said).toEqual([]);
    expect(node.server.sessions()).toEqual([]);
  });

  it('starts a hive again after the first one died', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    const first = await link.startHive(node.narrate);
    process.kill(first.pid ?? 0, 'SIGKILL');
    expect(await link.findHive()).toBeUndefined();
    const second = await link.startHive(node.narrate);
    expect(second.pid).not.toBe(first.pid);
    expect(node.owned).toEqual([
      expect.objectContaining({ pid: first.pid }),
      undefined,
      expect.objectContaining({ pid: second.pid }),
    ]);
  });

  it('uses the hive of another queen that got the port first, and leaves that alone', async () => {
    const server = createServer((_request, response) => {
      response.setHeader('Content-Type', 'application/json');
      response.end(JSON.stringify({ status: 'alive', version: VERSION, api_version: 'v1', pid: 4711 }));
    }).listen(node.hivePort, '127.0.0.1');
    await once(server, 'listening');
    node.installTinyHive('healthy');
    const link = node.link();
    expect(await link.startHive(node.narrate)).toMatchObject({ pid: 4711 });
    expect(link.ownsHive).toBe(false);
    expect(node.owned).toEqual([]);
    expect(node.said.at(-1)?.human).toBe('a hive answers already (pid 4711): using it');
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('says what a hive wrote that ended before it was healthy, only of this start and without secrets', async () => {
    node.installTinyHive('exits');
    const link = node.link();
    await link.startHive(node.narrate).catch(() => undefined);
    await expect(link.startHive(node.narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining('the hive of gpu-box ended before it was healthy'),
      details: {
        node: 'gpu-box',
        port: node.hivePort,
        last_output: [expect.stringContaining('tiny hive'), 'cannot open the catalog: token=[REDACTED]'],
      },
    });
    expect(node.owned).toEqual([]);
  });

  it('says why the program started no hive', async () => {
    node.installTinyHive('refuses');
    await expect(node.link().startHive(node.narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining('did not start (exit code 1): the output file cannot be written: ENOSPC'),
    });
  });

  it('gives up on a hive that does not become healthy, and ends it', async () => {
    node.installTinyHive('silent');
    const link = node.link({ timeouts: { hive_healthy: 300 } });
    await expect(link.startHive(node.narrate)).rejects.toMatchObject({
      code: 'HIVE_START_FAILED',
      message: expect.stringContaining(`was not healthy on port ${node.hivePort} within 300 ms`),
    });
    expect(node.started).toHaveLength(1);
    expect(node.running).toEqual([]);
  });

  it.each(['close', 'stopHive'] as const)('leaves no hive behind when a start is broken off by %s', async (how) => {
    node.installTinyHive('silent');
    const link = node.link();
    const starting = link.startHive((spoken) => {
      node.narrate(spoken);
      if (spoken.action === 'hive_start') void link[how](node.narrate);
    });
    await expect(starting).rejects.toMatchObject({ code: 'CANCELLED' });
    await link.close();
    expect(node.running).toEqual([]);
    await expect(link.startHive(node.narrate)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('ends a hive that was just started when the start is broken off', async () => {
    node.installTinyHive('silent');
    const link = node.link();
    const starting = link.startHive(node.narrate);
    starting.catch(() => undefined);
    while (node.started.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await link.close();
    await expect(starting).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(node.running).toEqual([]);
  });

  it('kills a hive that does not end in time, and says so', async () => {
    node.installTinyHive('stubborn');
    const link = node.link();
    const { pid } = await link.startHive(node.narrate);
    expect(await link.stopHive(node.narrate)).toBe(true);
    expect(node.said.at(-1)).toMatchObject({
      level: 'warn',
      human: `killed the hive (pid ${pid}): it did not end within 35 s`,
    });
  });

  it('does not hang when the machine of its hive has gone, and says what becomes of the hive', async () => {
    node.installTinyHive('healthy');
    const link = node.link();
    await link.startHive(node.narrate);
    await node.server.halt();
    expect(await link.stopHive(node.narrate)).toBe(false);
    expect(node.said.at(-1)).toMatchObject({
      level: 'warn',
      human: 'left the hive of gpu-box (no connection): it ends by itself 2 min after the last call',
    });
    expect(link.ownsHive).toBe(true);
    await node.server.restart();
    expect(await link.stopHive(node.narrate)).toBe(true);
  });

  it('does not hang when the machine of its hive stands still', async () => {
    node.installTinyHive('healthy');
    const link = node.link({ timeouts: { ssh_keep_alive: 50, ssh_connect: 1_000 } });
    await link.startHive(node.narrate);
    node.server.freeze();
    expect(await link.stopHive(node.narrate)).toBe(false);
    node.server.thaw();
    expect(await link.stopHive(node.narrate)).toBe(true);
  });

  it('names the setting of a machine that forwards nothing', async () => {
    const closed = await TestNode.start({ sshd: ['AllowTcpForwarding=no'] });
    await expect(closed.link().findHive()).rejects.toMatchObject({ code: 'SSH_FORWARDING_DENIED' });
    await closed.stop();
  });

  it('asks for an installation where there is none', async () => {
    await expect(node.link().startHive(node.narrate)).rejects.toMatchObject({
      code: 'HIVE_NOT_INSTALLED',
      message: 'rbee is not installed on gpu-box: rbee-hive: command not found',
      suggestion: 'install it: rbee-keeper setup install --node gpu-box',
    });
  });

  it('says which Node.js there is when none fits', async () => {
    const old = join(node.home, 'old', 'node');
    mkdirSync(join(node.home, 'old'));
    writeFileSync(old, "#!/bin/sh\nprintf 'v18.19.0\\t108\\tlinux\\tx64\\t/x\\n'\n", { mode: 0o755 });
    const link = node.link({ nodePath: old, nodeCandidates: [] });
    await expect(link.startHive(node.narrate)).rejects.toMatchObject({
      code: 'HIVE_NOT_INSTALLED',
      message: `no Node.js on gpu-box is 20.19 or newer: looked at ${old} (18.19.0)`,
    });
  });

  it('looks for Node.js again when it is no longer where it was', async () => {
    node.installTinyHive('healthy');
    const link = node.link({ nodePath: '/nowhere/node', nodeCandidates: [process.execPath] });
    await expect(link.startHive(node.narrate)).resolves.toMatchObject({ version: VERSION });
  });

  it('runs the program that the settings name instead', async () => {
    node.installTinyHive('healthy');
    const binaryPath = join(node.home, 'rbee', 'apps', 'rbee-hive', 'bin', 'rbee-hive.js');
    const link = node.link({ installPath: '/nowhere', binaryPath });
    await expect(link.startHive(node.narrate)).resolves.toMatchObject({ version: VERSION });
  });

  it('reaches a worker at the address that the node itself uses', async () => {
    const server = createServer((request, response) => response.end(`worker: ${request.url}`)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const { transport } = node.link().workerAt(`http://127.0.0.1:${port}`);
    const { body } = await transport.send('/hello', { method: 'GET', headers: {} });
    let text = '';
    for await (const chunk of body) text += Buffer.from(chunk).toString();
    expect(text).toBe('worker: /hello');
    transport.close();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('the checks before a start', () => {
  it('fail where the key is bound to one command', async () => {
    const node = await TestNode.start({ sshd: ['ForceCommand=echo no shell for you; exit 4'] });
    await expect(node.link().startHive(node.narrate)).rejects.toMatchObject({
      code: 'SSH_COMMAND_FAILED',
      message: 'gpu-box runs no commands: an echo did not come back',
      details: { exit_status: 4 },
    });
    await node.stop();
  });

  it('warn of a machine that answers slowly, and go on', async () => {
    const node = await TestNode.start({ sshd: ['ForceCommand=sleep 0.12; exec /bin/sh'] });
    node.installTinyHive('healthy');
    await node.link().startHive(node.narrate);
    expect(node.said).toContainEqual(
      expect.objectContaining({ level: 'warn', human: 'gpu-box answers slowly: more than 100 ms for an echo' }),
    );
    await node.stop();
  });

  it('fail with the errors of the connection', async () => {
    const node = await TestNode.start();
    await node.server.halt();
    await expect(node.link().startHive(node.narrate)).rejects.toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT' });
    await node.stop();
  });
});
