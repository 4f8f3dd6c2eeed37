import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, silentLogger, systemClock } from '@rbee/daemon-kit';
import { LocalLink } from '../link/local-link.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
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
      hiveCommand: { command: 'false', args: [], variables: {}, outputFile: '/dev/null' },
    });
    const onChange = () => watch.touch();
    node = new LiveNode({ link, log: silentLogger, timeouts: DEFAULT_TIMEOUTS, onChange });
  });
  afterEach(async () => {
    node.close();
    link.close();
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
      suggestion: 'upgrade rbee-keeper and queen-rbee to 0.2.0',
    });
    hive.version = '0.0.9';
    await expect(node.provideHive(() => undefined, new AbortController().signal)).rejects.toMatchObject({
      code: 'VERSION_MISMATCH',
      suggestion: 'upgrade the hive: rbee-keeper setup install --node localhost',
    });
  });
});
