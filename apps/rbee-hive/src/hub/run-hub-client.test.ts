import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import { startTestHub, type TestHub } from '@rbee/fixtures';
import type { HubClientJob } from './hub-messages.js';
import { runHubClient } from './run-hub-client.js';

const REPO = 'acme/tiny';
const BYTES = randomBytes(2_000_000);
const FILE = { path: 'x.gguf', sizeBytes: BYTES.length, digest: createHash('sha256').update(BYTES).digest('hex') };

describe('a hub client', () => {
  let folder: string;
  let server: TestHub;
  let stdin: PassThrough;
  let stdout: PassThrough;
  let signals: EventEmitter;
  let ended: Promise<void>;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbee-hub-'));
    server = await startTestHub();
    await server.addRepo(REPO, { 'x.gguf': { bytes: BYTES } });
    stdin = new PassThrough();
    stdout = new PassThrough();
    signals = new EventEmitter();
    ended = runHubClient({ stdin, stdout, stderr: new PassThrough(), signals, clock: systemClock });
  });
  afterEach(async () => {
    stdin.end();
    await ended;
    await server.close();
    await rm(folder, { recursive: true });
  });

  const order = (...lines: object[]) => stdin.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const job = (bytesPerSecond?: number): HubClientJob => ({
    endpoint: server.endpoint,
    silence_ms: 20_000,
    work: { fetch: { repo: REPO, file: FILE, target: join(folder, 'x.gguf'), bytesPerSecond } },
  });
  const said = () =>
    String(stdout.read() ?? '')
      .trim()
      .split('\n');

  it('tells how it goes on and ends with a result', async () => {
    order(job());
    await ended;
    const lines = said().map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({ event: { type: 'offset', offset: 0 } });
    expect(lines.at(-1)).toEqual({ result: {} });
    expect(await readdir(folder)).toEqual(['x.gguf']);
  });

  it('obeys an order that came together with its job', async () => {
    order(job(1), { limit: null });
    await ended;
    expect(await readdir(folder)).toEqual(['x.gguf']);
  });

  it.each([
    ['its hive is gone', () => stdin.end()],
    ['it is told to', () => signals.emit('SIGTERM')],
    ['nobody reads what it says', () => stdout.emit('error', new Error('EPIPE'))],
  ])('ends, and keeps what has come, when %s', async (_, end) => {
    const reached = server.pauseAt('x.gguf', 1_000_000);
    order(job());
    await reached;
    for (let text = ''; !/"offset":[1-9]/.test(text); text += stdout.read() ?? '') await once(stdout, 'readable');
    end();
    await ended;
    expect(await readdir(folder)).toEqual([expect.stringMatching(/\.partial$/)]);
    expect(said().join('')).not.toMatch(/result|error/);
  });

  it('ends without a job', async () => {
    stdin.end();
    await ended;
    expect(stdout.read()).toBeNull();
  });

  it('hides what is a mistake of ours', async () => {
    order({ ...job(), endpoint: 'no address' });
    await ended;
    expect(said()).toEqual([expect.stringContaining('INTERNAL_ERROR')]);
  });
});
