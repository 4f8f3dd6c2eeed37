import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { callJson, DEFAULT_TIMEOUTS, type Spoken, silentLogger, systemClock } from '@rbee/daemon-kit';
import { hiveRoutes, type Narration, type ProgressEvent, RbeeError } from '@rbee/protocol';
import { sendModel } from '../copy/send-model.js';
import { LiveNode } from '../node/live-node.js';
import { Nodes } from '../node/nodes.js';
import { failureOf } from '../testing/failure-of.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
import { ScriptedLink } from '../testing/scripted-link.js';
import type { ScriptedDownload } from '../testing/scripted-models.js';
import { Watch } from '../testing/watch.js';
import type { SendFiles } from './copy-from-node.js';
import { ModelSupply } from './model-supply.js';

const MODEL = 'hf:org/m:Q4_K_M';
const timeouts = { ...DEFAULT_TIMEOUTS, download_retry: 1 };

/** Somebody who waits for a model, and what that one heard. */
class Client {
  readonly said: string[] = [];
  readonly progress: ProgressEvent[] = [];
  readonly watch = new Watch();
  readonly abort = new AbortController();
  readonly narrate = ({ human }: Spoken) => {
    this.said.push(human);
    this.watch.touch();
  };
  readonly pass = (event: Narration | ProgressEvent) => {
    if (event.type === 'progress') this.progress.push(event);
    this.watch.touch();
  };

  get request() {
    return { correlationId: 'corr', listener: this, signal: this.abort.signal };
  }

  leave(): void {
    this.abort.abort(new RbeeError('CANCELLED', 'the client has gone'));
  }
}

/** A promise that a test settles. */
function gate<T>() {
  let open: (value: T) => void = () => undefined;
  let refuse: (error: unknown) => void = () => undefined;
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    refuse = reject;
  });
  promise.catch(() => undefined);
  return { promise, open, refuse };
}

describe('ModelSupply', () => {
  let hives: ScriptedHive[];
  let nodes: Nodes;
  let supply: ModelSupply;
  let send: SendFiles;

  /** Nodes a, b, c, of which a is this machine, each with a hive that runs. */
  beforeEach(async () => {
    hives = await Promise.all(['a', 'b', 'c'].map(() => new ScriptedHive().start()));
    const parts = { log: silentLogger, timeouts, variables: { RBEE_NO_JITTER: '1' }, onChange: () => undefined };
    const [local, ...others] = hives.map(
      ({ port }, index) =>
        new LiveNode({ ...parts, link: new ScriptedLink(index === 0 ? 'local' : 'ssh', 'abc'[index] ?? '', port) }),
    );
    nodes = new Nodes(local as LiveNode, silentLogger);
    for (const node of others) nodes.add(node);
    await Promise.all(nodes.all().map((node) => node.connect()));
    const end = ({ name, link }: LiveNode) => ({ ...link.hive, node: name });
    send = ({ source, target, ...work }, signal) =>
      sendModel({ ...work, source: end(source), target: end(target), timeoutMs: 5000, signal });
    supply = new ModelSupply({ ...parts, clock: systemClock, nodes, send: (...work) => send(...work) });
  });
  afterEach(async () => {
    await supply.close();
    nodes.close();
    await Promise.all(nodes.all().map((node) => node.link.close()));
    await Promise.all(hives.map((hive) => hive.stop()));
  });

  const hive = (name: string) => hives['abc'.indexOf(name)] as ScriptedHive;
  const models = (name: string) => hive(name).models;
  const provide = (name: string, client: Client, modelRef = MODEL) =>
    supply.provide(nodes.get(name), modelRef, client.request);
  const untilKnown = async (name: string) => {
    while (nodes.get(name).models.length === 0) await nodes.get(name).refreshModels({});
  };
  /** Makes downloads of a node wait; resolves with the download that has begun. */
  const holdFetch = (name: string) => {
    const end = gate<string>();
    const begun = gate<ScriptedDownload>();
    models(name).fetch = (download) => {
      begun.open(download);
      return end.promise;
    };
    return { ...end, begun: begun.promise };
  };

  it('asks nobody for what is in the catalog, nor for what does not come from a hub', async () => {
    models('b').add(MODEL, 'weights');
    await untilKnown('b');
    const callsBefore = hive('b').calls.length;
    expect(await provide('b', new Client(), 'hf:org/m')).toMatchObject({
      source: 'catalog',
      model: { variant: 'Q4_K_M' },
    });
    expect(await provide('b', new Client(), 'file:///m.gguf')).toEqual({ model: undefined, source: 'catalog' });
    expect(hive('b').calls.length).toBe(callsBefore);
  });

  it('has the node download what nobody has, and tells how it goes on', async () => {
    models('b').fetch = async (download) => {
      await download.followed;
      download.send({ stage: 'waiting', position: 2 });
      download.progress(60, { resumed_from: 60 });
      download.send({
        stage: 'retrying',
        attempt: 2,
        max_attempts: 6,
        delay_ms: 100,
        reason: 'the connection broke at 60 %',
      });
      download.progress(90);
      download.send({ stage: 'verifying' });
      return 'weights';
    };
    const client = new Client();
    expect(await provide('b', client)).toMatchObject({ source: 'hub', model: { model_ref: MODEL } });
    expect(client.said).toEqual([
      'b looks for hf:org/m:Q4_K_M on the hub',
      expect.stringContaining('resuming hf:org/m:Q4_K_M to b at 60 %'),
      'the connection broke at 60 %: attempt 2 of 6 in 100 ms',
      expect.stringMatching(/^downloaded hf:org\/m:Q4_K_M to b in .*, SHA-256 verified$/),
    ]);
    expect(client.progress).toMatchObject([
      { phase: 'download', stage: 'waiting', position: 2 },
      {
        phase: 'download',
        stage: 'downloading',
        source: 'hub',
        bytes_downloaded: 60,
        bytes_total: 100,
        speed_mbps: 8,
        resumed_from: 60,
      },
      { bytes_downloaded: 90 },
      { stage: 'verifying' },
    ]);
  });

  it('keeps code and details of what a download failed with', async () => {
    models('b').fetch = async () => {
      throw new RbeeError('MODEL_NOT_FOUND', 'no such variant', {
        details: { variants: ['Q8_0'] },
        suggestion: 'take it',
      });
    };
    const error = await failureOf(provide('b', new Client()));
    expect(error).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      details: { variants: ['Q8_0'], node: 'b' },
      suggestion: 'take it',
    });
  });

  it('does not take a download that somebody else has ended for one that was cancelled from here', async () => {
    models('b').fetch = async () => {
      throw new RbeeError('CANCELLED', 'the hive is shutting down');
    };
    const error = await failureOf(provide('b', new Client()));
    expect(error).toMatchObject({ code: 'DOWNLOAD_FAILED', message: 'the hive is shutting down', retryable: true });
  });

  it('brings a model once for all who need it on a node; who comes late hears at once how far it is', async () => {
    const fetch = holdFetch('b');
    const [first, late] = [new Client(), new Client()];
    const one = provide('b', first);
    (await fetch.begun).progress(40);
    await first.watch.until(() => first.progress.length === 1);
    const other = provide('b', late);
    expect(late.progress).toMatchObject([{ bytes_downloaded: 40 }]);
    fetch.open('weights');
    expect(await Promise.all([one, other])).toMatchObject([{ source: 'hub' }, { source: 'hub' }]);
    expect(models('b').hub).toEqual([MODEL]);
    expect(hive('b').calls.filter((name) => name === 'downloadModel')).toHaveLength(1);
  });

  it('shares with who names the default variant what was begun without it', async () => {
    const fetch = holdFetch('b');
    const one = provide('b', new Client(), 'hf:org/m');
    await fetch.begun;
    const client = new Client();
    const other = provide('b', client, MODEL);
    await client.watch.until(() => client.said.length > 0);
    expect(client.said).toEqual(['waiting for hf:org/m:Q4_K_M, which is on its way to b']);
    fetch.open('weights');
    expect(await Promise.all([one, other])).toMatchObject([{ source: 'hub' }, { source: 'hub' }]);
    expect(hive('b').calls.filter((name) => name === 'downloadModel')).toHaveLength(1);
  });

  it('goes on for those who are left and gives the download back when the last one has gone', async () => {
    const fetch = holdFetch('b');
    const [first, second] = [new Client(), new Client()];
    const one = provide('b', first);
    const other = provide('b', second);
    const download = await fetch.begun;
    first.leave();
    expect((await failureOf(one)).code).toBe('CANCELLED');
    expect(download.ended).toBe(false);
    second.leave();
    await failureOf(other);
    await hive('b').watch.until(() => download.ended);
    expect(download.holders).toBe(0);
  });

  it('gives a download back that was asked for while its last client went', async () => {
    const answer = gate<void>();
    models('b').answer = answer.promise;
    const fetch = holdFetch('b');
    const client = new Client();
    const wait = provide('b', client);
    const download = await fetch.begun;
    client.leave();
    expect((await failureOf(wait)).code).toBe('CANCELLED');
    expect(download.ended).toBe(false);
    answer.open();
    await hive('b').watch.until(() => download.ended);
  });

  it('hears on of a download from the hub after the connection to its node was lost for a moment', async () => {
    const fetch = holdFetch('b');
    const client = new Client();
    const wait = provide('b', client);
    (await fetch.begun).progress(40);
    await client.watch.until(() => client.progress.length === 1);
    const link = nodes.get('b').link as ScriptedLink;
    link.lose(new RbeeError('SSH_CONNECTION_TIMEOUT', 'nothing comes back'));
    link.hive.transport.close();
    link.reachError = undefined;
    await client.watch.until(() => client.progress.length === 2);
    fetch.open('weights');
    expect(await wait).toMatchObject({ source: 'hub' });
    expect(client.said).toContain('b: the stream from rbee-hive broke off: attempt 2 of 6 in 1 ms');
    expect(models('b').hub).toEqual([MODEL]);
  });

  it('copies from another node rather than asking the hub', async () => {
    const content = Buffer.alloc(5 * 2 ** 20, 'x');
    models('b').add(MODEL, content, 'the second part');
    await untilKnown('b');
    const client = new Client();
    const supplied = await provide('c', client, 'hf:org/m');
    expect(supplied).toMatchObject({ source: 'node', from: 'b' });
    expect(supplied.model?.files).toEqual(models('b').held.get('org-m-q4_k_m')?.files);
    expect(models('c').hub).toEqual([]);
    expect(models('c').pieces).toEqual([0, 2 * 2 ** 20, 0]);
    expect(client.said.at(-1)).toMatch(/^copied hf:org\/m from b to c in /);
  });

  it('goes on with a copy where it broke', async () => {
    models('a').add(MODEL, Buffer.alloc(3 * 2 ** 20, 'x'));
    await untilKnown('a');
    const usual = send;
    let sent = 0;
    send = async (work, signal) => {
      if (sent++ > 0) return usual(work, signal);
      const cut = work.files.map((file) => ({ ...file, size_bytes: 2 ** 20 }));
      await usual({ ...work, files: cut }, signal);
      throw new RbeeError('WORKER_CONNECTION_LOST', 'the stream broke off');
    };
    const client = new Client();
    expect(await provide('c', client)).toMatchObject({ source: 'node', from: 'a' });
    expect(models('c').pieces).toEqual([0, 2 ** 20]);
    expect(client.said).toContainEqual(expect.stringContaining('the stream broke off: attempt 2 of 6'));
  });

  it('goes on with a copy when the connection to the node that gets it was lost for a moment', async () => {
    models('a').add(MODEL, Buffer.alloc(3 * 2 ** 20, 'x'));
    await untilKnown('a');
    const usual = send;
    let sent = 0;
    send = async (work, signal) => {
      if (sent++ > 0) return usual(work, signal);
      await models('c').downloads.get(work.downloadId)?.followed;
      const link = nodes.get('c').link as ScriptedLink;
      link.lose(new RbeeError('SSH_CONNECTION_TIMEOUT', 'nothing comes back'));
      link.hive.transport.close();
      link.reachError = undefined;
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const client = new Client();
    expect(await provide('c', client)).toMatchObject({ source: 'node', from: 'a' });
    expect(client.said).toContainEqual(expect.stringMatching(/^c: .*: attempt 2 of 6/));
    expect(models('c').hub).toEqual([]);
  });

  it('does not send again to a node whose hive has ended', async () => {
    models('a').add(MODEL, Buffer.alloc(3 * 2 ** 20, 'x'));
    await untilKnown('a');
    let sent = 0;
    send = async () => {
      sent++;
      await hive('c').stop();
      throw new RbeeError('CONNECTION_TIMEOUT', 'c: the connection was refused', { details: { node: 'c' } });
    };
    const error = await failureOf(provide('c', new Client()));
    expect(error).toMatchObject({ message: expect.stringMatching(/^c: /), details: { node: 'c' } });
    expect([sent, models('c').hub]).toEqual([1, []]);
  });

  it('copies from a hive that runs but was not met yet', async () => {
    models('a').add(MODEL, 'weights');
    nodes.get('a').forgetHive();
    expect(await provide('c', new Client())).toMatchObject({ source: 'node', from: 'a' });
    expect(models('c').hub).toEqual([]);
  });

  it('downloads what cannot be copied, says why, and leaves no import behind', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    models('a').readError = new RbeeError('MODEL_NOT_FOUND', 'its file has gone');
    const client = new Client();
    expect(await provide('c', client)).toMatchObject({ source: 'hub' });
    expect(client.said).toContain('it cannot be copied from a: its file has gone');
    const imports = [...models('c').downloads.values()].filter(({ source }) => source === 'node');
    expect(imports.map(({ ended, holders }) => [ended, holders])).toEqual([[true, 0]]);
  });

  it('does not take a copy whose content is wrong', async () => {
    const model = models('a').add(MODEL, 'weights');
    model.files = [{ name: 'm.gguf', size_bytes: 7, digest: 'a'.repeat(64) }];
    await untilKnown('a');
    expect(await provide('c', new Client())).toMatchObject({ source: 'hub' });
  });

  it('asks no second source when the disk of the node is full', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    models('c').pieceError = new RbeeError('DISK_FULL', 'no space');
    const error = await failureOf(provide('c', new Client()));
    expect([error.code, models('c').hub]).toEqual(['DISK_FULL', []]);
  });

  it('asks no second source when the import was ended at the node', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    send = async ({ downloadId }, signal) => {
      const download = models('c').downloads.get(downloadId);
      await download?.followed;
      download?.fail(new RbeeError('CANCELLED', 'the hive is shutting down'));
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const error = await failureOf(provide('c', new Client()));
    expect([error.message, models('c').hub]).toEqual(['the hive is shutting down', []]);
  });

  it('leaves no import behind at a hive that was started again in the middle', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    send = async () => {
      models('c').downloads.clear();
      send = async () => {
        throw new RbeeError('DISK_FULL', 'no space');
      };
      throw new RbeeError('WORKER_CONNECTION_LOST', 'the stream broke off');
    };
    expect((await failureOf(provide('c', new Client()))).code).toBe('DISK_FULL');
    const [download] = models('c').downloads.values();
    expect([download?.ended, download?.holders]).toEqual([true, 0]);
  });

  it('ends a copy that nobody waits for any more', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    const sending = gate<void>();
    send = (_work, signal) => {
      sending.open();
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const client = new Client();
    const wait = provide('c', client);
    await sending.promise;
    client.leave();
    await failureOf(wait);
    await supply.close();
    const [download] = models('c').downloads.values();
    expect([download?.ended, download?.holders]).toEqual([true, 0]);
  });

  it('lets one of several nodes download and the others copy from it', async () => {
    const fetch = holdFetch('b');
    const clients = [new Client(), new Client(), new Client()];
    const first = provide('b', clients[0] as Client);
    (await fetch.begun).progress(40);
    const others = [provide('a', clients[1] as Client), provide('c', clients[2] as Client)];
    for (const client of clients.slice(1)) {
      await client.watch.until(() => client.progress.length > 0);
      expect(client.said[0]).toBe('b is downloading hf:org/m:Q4_K_M: waiting to copy it');
    }
    fetch.open('weights');
    const supplied = await Promise.all([first, ...others]);
    expect(supplied.map(({ source }) => source)).toEqual(['hub', 'node', 'node']);
    expect([...models('a').hub, ...models('b').hub, ...models('c').hub]).toEqual([MODEL]);
  });

  it('lets the next node download when the one that did has failed', async () => {
    const fetch = holdFetch('b');
    const clients = [new Client(), new Client(), new Client()];
    const first = provide('b', clients[0] as Client);
    await fetch.begun;
    const others = [provide('a', clients[1] as Client), provide('c', clients[2] as Client)];
    await (clients[2] as Client).watch.until(() => clients[2]?.said.length === 1);
    fetch.refuse(new RbeeError('DOWNLOAD_FAILED', 'the hub is away'));
    expect((await failureOf(first)).code).toBe('DOWNLOAD_FAILED');
    const sources = (await Promise.all(others)).map(({ source }) => source);
    expect(sources.sort()).toEqual(['hub', 'node']);
    expect(clients[2]?.said).toContain('b did not get it: the hub is away');
  });

  it('follows what the node is fetching from the hub already', async () => {
    models('a').add(MODEL, 'weights');
    await untilKnown('a');
    const fetch = holdFetch('c');
    await callJson(nodes.get('c').link.hive, hiveRoutes.downloadModel, { body: { model_ref: MODEL } });
    const download = await fetch.begun;
    const wait = provide('c', new Client());
    await hive('c').watch.until(() => download.holders === 2);
    fetch.open('weights');
    expect(await wait).toMatchObject({ source: 'hub', model: { model_ref: MODEL } });
    expect(models('c').pieces).toEqual([]);
  });
});
