import { afterEach, expect, it } from '@jest/globals';
import { callJson, Secret } from '@rbee/daemon-kit';
import { scanRoutes } from '@rbee/daemon-kit/testing';
import { workerRoutes } from '@rbee/protocol';
import { KEY, startTestWorker, type TestWorker } from './testing/worker-run.js';

let worker: TestWorker | undefined;
afterEach(() => worker?.stop());

it('every route refuses who has no key before it reads anything, and no path outside the table answers', async () => {
  worker = await startTestWorker({ key: KEY });
  const { findings } = await scanRoutes({
    url: worker.app.url,
    routes: workerRoutes,
    key: KEY,
    foreignKey: new Secret('the key of the hive'),
    strangePaths: ['/v2/tasks', '/v1/workers/list', '/v1/workers/spawn', '/metrics'],
  });
  expect(findings).toEqual([]);
  // Nobody has told it to end, or given it a job.
  expect(await callJson(worker.target, workerRoutes.ready)).not.toHaveProperty('last_job_ended_at');
});

it('a body of more than 1 MiB is refused unless it says that a queen has checked it', async () => {
  worker = await startTestWorker({ key: KEY });
  const infer = async (bytes: number, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${worker?.app.url}/v1/inference`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${KEY.reveal()}`, ...headers },
      body: JSON.stringify({ prompt: 1, stop: 'x'.repeat(bytes) }),
    });
    return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code];
  };
  const large = { 'X-Rbee-Large-Body': '1' };
  expect(await infer(2 ** 20)).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  expect(await infer(10 * 2 ** 20)).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  expect(await infer(10 * 2 ** 20, { 'X-Rbee-Large-Body': 'yes' })).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  // Read, and found to hold no prompt.
  expect(await infer(2 ** 20, large)).toEqual([400, 'INVALID_REQUEST']);
  expect(await infer(13 * 2 ** 20, large)).toEqual([413, 'PAYLOAD_TOO_LARGE']);
});
