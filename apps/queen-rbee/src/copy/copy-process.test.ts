import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { callJson, DEFAULT_TIMEOUTS, httpTransport, systemClock } from '@rbee/daemon-kit';
import { hiveRoutes, RbeeError } from '@rbee/protocol';
import { makeNodeRecord } from '../registry/testing/make-node-record.js';
import { startSshServer } from '../ssh/testing/ssh-server.js';
import { failureOf } from '../testing/failure-of.js';
import { ScriptedHive } from '../testing/scripted-hive.js';
import type { CopyEndpoint, CopyJob } from './copy-job.js';
import { copyInProcess } from './copy-process.js';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
const CONTENT = Buffer.from(Array.from({ length: 3 * 2 ** 20 }, (_, index) => (index * 7919) >> 8));

describe('a copy in a process of its own', () => {
  let home: string;
  let source: ScriptedHive;
  let target: ScriptedHive;

  beforeEach(async () => {
    home = mkdtempSync(join(tmpdir(), 'copy-process-'));
    [source, target] = await Promise.all([new ScriptedHive().start(), new ScriptedHive().start()]);
  });
  afterEach(async () => {
    await Promise.all([source.stop(), target.stop()]);
    rmSync(home, { recursive: true, force: true });
  });

  const at = ({ port }: ScriptedHive): CopyEndpoint => ({
    node: 'n',
    url: `http://127.0.0.1:${port}`,
    tokenFile: undefined,
  });
  const run = (args = ['--import', 'tsx', MAIN, 'copy']) =>
    copyInProcess({
      command: process.execPath,
      args,
      variables: { PATH: process.env.PATH, HOME: home, RBEE_NO_JITTER: '1' },
    });

  /** A job for a model of two files, of which the target has the first bytes. */
  async function makeJob(ends: Partial<Pick<CopyJob, 'source' | 'target'>> = {}): Promise<CopyJob> {
    const model = source.models.add('hf:org/m:Q4_K_M', CONTENT, 'the second part');
    const files = (model.files ?? []).map(({ digest, ...file }) => ({ ...file, digest: digest as string, offset: 0 }));
    const transport = httpTransport({ name: 'rbee-hive', url: `http://127.0.0.1:${target.port}` });
    const { download_id: downloadId } = await callJson({ transport, clock: systemClock }, hiveRoutes.importModel, {
      body: { model_ref: model.model_ref, files: files.map(({ offset: _offset, ...file }) => file) },
    });
    transport.close();
    return {
      ...{ source: at(source), target: at(target), ...ends },
      ...{ modelId: model.id, downloadId, files, correlationId: 'corr' },
      timeouts: DEFAULT_TIMEOUTS,
      mockHive: undefined,
    };
  }

  it('brings every byte over', async () => {
    await run()(await makeJob(), new AbortController().signal);
    expect([...target.models.held.values()].map(({ files }) => files)).toEqual(
      [...source.models.held.values()].map(({ files }) => files),
    );
    expect(target.models.pieces).toEqual([0, 2 * 2 ** 20, 0]);
  });

  it('reaches a node over SSH by the record of the registry, with the pinned host key', async () => {
    const server = await startSshServer({ home: join(home, 'node') });
    try {
      const { host, port, user, keyPath } = server;
      const record = makeNodeRecord({
        ssh: { host, port, user, keyPath },
        hostKeys: { [`[${host}]:${port}`]: server.hostKey },
        hivePort: source.port,
      });
      await run()(await makeJob({ source: { node: record.name, record } }), new AbortController().signal);
      expect(target.models.held.size).toBe(1);
      await server.restartWithNewHostKey();
      const other = await failureOf(
        run()(await makeJob({ source: { node: record.name, record } }), new AbortController().signal),
      );
      expect(other.code).toBe('SSH_HOST_KEY_CHANGED');
    } finally {
      await server.stop();
    }
  });

  it('fails with the coded error of the side that refused', async () => {
    const job = await makeJob();
    target.models.pieceError = new RbeeError('DISK_FULL', 'no space', {
      details: { free_mb: 0 },
      suggestion: 'free some',
    });
    const error = await failureOf(run()(job, new AbortController().signal));
    expect(error).toMatchObject({ code: 'DISK_FULL', details: { free_mb: 0 }, suggestion: 'free some' });
  });

  it('ends when whoever wants it has had enough', async () => {
    const job = await makeJob();
    const abort = new AbortController();
    const copying = run()(job, abort.signal);
    await source.watch.until(() => source.calls.includes('readModelFile'));
    abort.abort(new RbeeError('CANCELLED', 'nobody needs it'));
    expect(await failureOf(copying)).toMatchObject({ code: 'CANCELLED', message: 'nobody needs it' });
  });

  it('ends by itself when the queen has gone', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const asked = once(silent, 'connection');
    const { port } = silent.address() as AddressInfo;
    const source = { node: 'n', url: `http://127.0.0.1:${port}`, tokenFile: undefined };
    const child = spawn(process.execPath, ['--import', 'tsx', MAIN, 'copy'], {
      env: { PATH: process.env.PATH, HOME: home },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const said = text(child.stdout);
    child.stdin.write(`${JSON.stringify(await makeJob({ source }))}\n`);
    const [socket] = await asked;
    child.stdin.destroy();
    expect(JSON.parse(await said)).toMatchObject({ type: 'error', code: 'CANCELLED' });
    socket.destroy();
    silent.close();
  });

  it('says that a program ended without a result', async () => {
    const job = await makeJob();
    const error = await failureOf(run(['-e', 'process.exit(3)'])(job, new AbortController().signal));
    expect(error).toMatchObject({ code: 'DOWNLOAD_FAILED', details: { end: 'exit code 3' } });
  });
});
