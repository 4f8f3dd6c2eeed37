import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, silentLogger, systemClock } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { LocalHiveKey } from '../link/local-hive-key.js';
import { LocalLink } from '../link/local-link.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
import { ScriptedLink } from '../testing/scripted-link.js';
import { ScriptedWorker } from '../testing/scripted-worker.js';
import { Watch } from '../testing/watch.js';
import { LiveNode } from './live-node.js';

describe('LiveNode', () => {
  let hive: ScriptedHive;
  let link: LocalLink;
  let node: LiveNode;
  let watch: Watch;

  beforeEach(async () => {
    hive = await new ScriptedHive().start();
    watch = new Watch();
    link = new LocalLink({
      clock: systemClock,
      log: silentLogger,
      timeouts: DEFAULT_TIMEOUTS,
      hivePort: hive.port,
      hiveKey: new LocalHiveKey({ configured: undefined, stateFolder: '/nothing-here' }),
      hiveCommand: { command: 'false', args: [], variables: {}, outputFile: '/dev/null' },
    });
    const onChange = () => watch.touch();
    node = new LiveNode({ link, log: silentLogger, timeouts: DEFAULT_TIMEOUTS, variables: {}, onChange });
  });
  afterEach(async () => {
    node.close();
    await link.close();
    await hive.stop();
  });

  const view = () => node.view(() => ({ inFlight: 0, waiting: 0, lastEndedMs: undefined }));
  const workerCount = () => view().workers.length;

  it('knows nothing before it has met the hive', () => {
    expect(view()).toMatchObject({ name: 'localhost', hiveUp: false, workers: [], models: [], backends: [] });
  });

  it('follows the hive from its snapshot on', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    await Promise.all([node.connect(), node.connect()]);
    expect(hive.calls.filter((name) => name === 'events')).toHaveLength(1);
    expect(view()).toMatchObject({ hiveUp: true, workers: [{ worker_id: worker.id, state: 'idle' }] });
    hive.setState(worker.id, 'busy');
    await watch.until(() => node.worker(worker.id)?.state === 'busy');
    hive.remove(worker.id);
    await watch.until(() => workerCount() === 0);
  });

  it('does not list a worker again of which it only learns why it failed', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    await node.connect();
    const held = hive.held.get(worker.id);
    if (held) held.state = 'failed';
    await expect(node.refreshWorker(worker.id, {})).resolves.toMatchObject({ state: 'failed' });
    expect(workerCount()).toBe(0);
    await node.refreshWorker(worker.id, {});
    expect(workerCount()).toBe(0);
  });

  it('forgets everything when the hive dies, and finds it again by itself', async () => {
    await hive.addWorker(new ScriptedWorker());
    await node.connect();
    const { port } = hive;
    await hive.crash();
    await watch.until(() => !view().hiveUp);
    expect(view()).toMatchObject({ workers: [], backends: [] });
    await expect(node.connect()).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
    const old = hive;
    hive = new ScriptedHive();
    await hive.addWorker(new ScriptedWorker());
    await hive.start(port);
    await watch.until(() => workerCount() === 1);
    await old.stop();
  });

  it('keeps what the hive warns of, for as long as the hive runs', async () => {
    hive.warnings.push('the catalog was damaged');
    await node.connect();
    expect(node.warnings).toEqual(['the catalog was damaged']);
    hive.warn('and now again');
    // Events come in order.
    await hive.addWorker(new ScriptedWorker());
    await watch.until(() => workerCount() === 1);
    expect(node.status.warnings).toEqual(['the catalog was damaged', 'and now again']);
    node.forgetHive();
    expect(node.status.warnings).toBeUndefined();
  });

  it('gets the key of a worker once, and anew when the worker came back with the hive', async () => {
    const worker = await hive.addWorker(new ScriptedWorker());
    await node.connect();
    const first = await node.reachWorker(worker.id, {});
    await node.reachWorker(worker.id, {});
    expect(first.key?.reveal()).toBe(worker.key);
    expect(hive.calls.filter((name) => name === 'getWorker')).toHaveLength(1);
    expect(JSON.stringify(node.listWorkers())).not.toContain(worker.key);
  });

  it('says that a worker has gone when the hive does not know it', async () => {
    await node.connect();
    await expect(node.reachWorker('worker-x', {})).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
  });

  it('refuses a hive of another version, naming both', async () => {
    hive.version = '0.2.0';
    await expect(node.connect()).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
      details: { hive_version: '0.2.0', queen_version: '0.1.0' },
      suggestion: expect.stringContaining('upgrade rbee on this machine to 0.2.0'),
    });
    hive.version = '0.0.9';
    await expect(node.provideHive(() => undefined, new AbortController().signal)).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
      suggestion: 'upgrade the hive: rbee-keeper setup install --node localhost',
    });
  });
});

describe('LiveNode of another machine', () => {
  const gone = new RbeeError('SSH_CONNECTION_TIMEOUT', 'the SSH connection to far broke off');
  let hive: ScriptedHive;
  let watch: Watch;
  let link: ScriptedLink;
  let node: LiveNode;
  const standings: string[] = [];

  const open = (kind: 'ssh' | 'direct', silence = 60_000) => {
    link = new ScriptedLink(kind, 'far', hive.port);
    link.onReach = () => watch.touch();
    node = new LiveNode({
      link,
      log: silentLogger,
      timeouts: { ...DEFAULT_TIMEOUTS, hive_silence: silence },
      variables: { RBEE_NO_RETRY: '1' },
      onChange: () => watch.touch(),
      onStanding: ({ status, hive: state }) => {
        standings.push(`${status} ${state}`);
        watch.touch();
      },
      knownBackends: [{ name: 'cuda', available: true, devices: 2 }],
    });
  };
  beforeEach(async () => {
    standings.length = 0;
    watch = new Watch();
    hive = await new ScriptedHive().start();
  });
  afterEach(async () => {
    node.close();
    await link.close();
    await hive.stop();
  });
  const view = () => node.view(() => ({ inFlight: 0, waiting: 0, lastEndedMs: undefined }));

  it('is unknown before it was met, with the backends of its registration', () => {
    open('ssh');
    expect(node.status).toMatchObject({ link: 'ssh', status: 'unknown', hive: 'unknown', workers: 0 });
    expect(view()).toMatchObject({ hiveUp: false, trouble: undefined, backends: [{ name: 'cuda', devices: 2 }] });
  });

  it('is in trouble while it cannot be reached, and used again when it is back', async () => {
    open('ssh');
    await hive.addWorker(new ScriptedWorker());
    node.watch();
    await watch.until(() => node.status.hive === 'running');
    expect(node.status).toMatchObject({ status: 'reachable', workers: 1, ram_available_mb: 24_576 });
    link.lose(gone);
    expect(node.status).toMatchObject({ status: 'unreachable', hive: 'unknown', reason: gone.message, workers: 0 });
    expect(view()).toMatchObject({ hiveUp: false, trouble: gone.message });
    await watch.until(() => link.attempts > 2);
    link.reachError = undefined;
    await watch.until(() => node.status.workers === 1);
    expect(standings).toEqual(['reachable running', 'unreachable unknown', 'reachable running']);
  });

  it('does not take a connection that breaks while the hive is asked for a hive that does not run', async () => {
    open('ssh');
    hive.mute = true;
    node.watch();
    await hive.watch.until(() => hive.calls.includes('events'));
    link.hive.transport.close();
    link.lose(gone);
    await watch.until(() => link.attempts > 1);
    expect(standings).toEqual(['unreachable unknown']);
  });

  it('tells a machine without a hive from one that cannot be reached', async () => {
    open('ssh');
    await hive.stop();
    await expect(node.connect()).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
    expect(node.status).toMatchObject({ status: 'reachable', hive: 'stopped', reason: 'no hive runs there' });
    expect(view().trouble).toBeUndefined();
  });

  it('knows a machine behind a direct link by its hive alone, which it cannot start', async () => {
    open('direct');
    expect(view().trouble).toBe('its hive was not met yet');
    await hive.stop();
    await expect(node.connect()).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
    expect(node.status).toMatchObject({ status: 'unreachable', hive: 'unknown' });
    expect(view().trouble).toContain('refused');
  });

  it.each(['ssh', 'direct'] as const)('finds out a silent hive behind a link of the kind %s', async (kind) => {
    open(kind, 50);
    await node.connect();
    // Behind a direct link the hive is the only sign that there is of the machine.
    const standing = kind === 'direct' ? 'unreachable unknown' : 'reachable unknown';
    await watch.until(() => standings.includes(standing));
    expect(standings).not.toContain(kind === 'direct' ? 'reachable unknown' : 'unreachable unknown');
    expect(view().trouble).toBe('its hive does not answer');
    // Streams of workers are broken only where nothing else would end them.
    expect(link.resets > 0).toBe(kind === 'direct');
  });

  it('keeps the reason why a hive could not be started', async () => {
    open('ssh');
    await hive.stop();
    await expect(node.provideHive(() => undefined, new AbortController().signal)).rejects.toMatchObject({
      code: 'HIVE_NOT_INSTALLED',
    });
    expect(node.status).toMatchObject({ status: 'reachable', hive: 'unknown', reason: 'no hive is installed' });
  });
});
