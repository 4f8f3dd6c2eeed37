import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, systemClock } from '@rbee/daemon-kit';
import { startTestHub, type TestHub } from '@rbee/fixtures';
import type { HubRef } from '../hub/choose-variant.js';
import { HubHttp } from '../hub/hub-http.js';
import { DownloadStage } from './testing/download-stage.js';

const root = mkdtempSync(join(tmpdir(), 'rbee-test-hub-'));
const content = randomBytes(600_000);
const ref: HubRef = { provider: 'hf', reference: 'org/repo', variant: 'Q4_K_M' };
const timeouts = { ...DEFAULT_TIMEOUTS, download_stall: 300, download_retry: 5 };
let testHub: TestHub;
let http: HubHttp;
let stage: DownloadStage;
let count = 0;

beforeAll(async () => {
  testHub = await startTestHub();
  await testHub.addRepo('org/repo', { 'm-Q4_K_M.gguf': { bytes: content } });
});
beforeEach(() => {
  testHub.faults.length = 0;
  testHub.clearLog();
  http = new HubHttp({ endpoint: testHub.endpoint, clock: systemClock, silenceMs: 1000 });
  stage = new DownloadStage(join(root, String(count++)), { hub: http, clock: systemClock, timeouts });
});
afterEach(async () => {
  await stage.downloads.close();
  await http.close();
});
afterAll(async () => {
  await testHub.close();
  rmSync(root, { recursive: true });
});

const file = 'm-Q4_K_M.gguf';
const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('a download from a real hub', () => {
  it.each([
    ['is cut again and again', [{ cutAfter: 100_000, times: 5 }], 6],
    ['is cut at 40 %', [{ cutAtFraction: 0.4, times: 1 }], 2],
    ['stalls', [{ stallAfter: 200_000, times: 1 }], 2],
    ['is corrupted', [{ corruptAt: 300_000, times: 2 }], 3],
    [
      'comes from a server without ranges',
      [
        { cutAfter: 300_000, requests: [1] },
        { ignoreRange: true, requests: [2] },
      ],
      2,
    ],
    [
      'gets another part',
      [
        { cutAfter: 300_000, requests: [1] },
        { wrongStart: 10, requests: [2] },
      ],
      3,
    ],
    ['is reset', [{ reset: true, times: 3 }], 4],
    ['is refused', [{ status: 503, times: 2 }], 3],
    ['gets a web page', [{ status: 200, body: '<html>', headers: { 'Content-Type': 'text/html' }, times: 1 }], 2],
    ['hears another size', [{ size: 7, times: 1 }], 2],
    [
      'gets corrupt bytes when it goes on',
      [
        { cutAfter: 200_000, requests: [1] },
        { corruptAt: 400_000, requests: [2] },
      ],
      3,
    ],
  ])('that %s comes whole in the end', async (_name, faults, requests) => {
    testHub.faults.push(...faults);
    const { download } = await stage.request(ref);
    const following = stage.follow(download);
    const model = await download.done;
    expect(digestOf(readFileSync(model.local_path))).toBe(digestOf(content));
    expect(stage.files(ref)).toEqual([file]);
    const events = await following;
    expect(events.filter((event) => event.stage === 'complete' || event.stage === 'error')).toHaveLength(1);
    expect(events.filter((event) => event.stage === 'retrying')).toHaveLength(requests - 1);
    expect(testHub.contentRequests(file)).toHaveLength(requests);
  });

  it('goes on where the hive was ended', async () => {
    const reached = testHub.pauseAt(file, 400_000);
    const { download } = await stage.request(ref);
    await reached;
    for await (const event of download.follow(new AbortController().signal)) {
      if (event.stage === 'downloading' && event.bytes_downloaded >= 400_000) break;
    }
    await stage.downloads.close();
    await expect(download.done).rejects.toMatchObject({ code: 'CANCELLED' });
    testHub.resume();
    stage.start();
    const second = await stage.request(ref);
    await second.download.done;
    expect(testHub.contentRequests(file).map(({ range }) => range)).toEqual([undefined, 'bytes=400000-']);
    expect(stage.said.map(({ human }) => human).find((human) => human.startsWith('resuming'))).toMatch(
      /at 66 % of 0\.6 MB/,
    );
  });

  it.each([
    [404, 'MODEL_NOT_FOUND'],
    [403, 'MODEL_ACCESS_DENIED'],
  ])('that the hub refuses with %d ends at once', async (status, code) => {
    testHub.faults.push({ on: 'resolve', status });
    const { download } = await stage.request(ref);
    await expect(download.done).rejects.toMatchObject({ code });
    expect(testHub.requests.filter(({ kind }) => kind === 'resolve')).toHaveLength(1);
  });
});
