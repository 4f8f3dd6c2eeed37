import { afterEach, expect, it } from '@jest/globals';
import { Secret } from '@rbee/daemon-kit';
import { scanRoutes } from '@rbee/daemon-kit/testing';
import { hiveRoutes } from '@rbee/protocol';
import { TEST_KEY, TestHive } from '../test/test-hive.js';

let hive: TestHive | undefined;
afterEach(() => hive?.stop());

const STRANGE = ['/v2/tasks', '/v2/workers/list', '/v1/inference', '/v1/admin/shutdown'];

it('every route refuses who has no key before it reads anything, and no path outside the table answers', async () => {
  hive = await TestHive.start({ key: TEST_KEY });
  const { worker_id, api_key } = await hive.ready();
  const before = await hive.workers();
  const { findings } = await scanRoutes({
    url: hive.hive.url,
    routes: hiveRoutes,
    key: TEST_KEY,
    foreignKey: new Secret('the key of the queen'),
    strangePaths: STRANGE,
  });
  expect(findings).toEqual([]);
  expect((await hive.workers()).map(({ id, state, pid }) => [id, state, pid])).toEqual(
    before.map(({ id, state, pid }) => [id, state, pid]),
  );
  const detail = await hive.worker(worker_id);
  expect(detail.api_key).toBe(api_key);
});

it("a worker's key opens its own reports and nothing else", async () => {
  hive = await TestHive.start({ key: TEST_KEY });
  const one = await hive.ready();
  const other = await hive.ready();
  const send = async (method: string, path: string, key: string | undefined, body?: object) => {
    const answer = await fetch(`${hive?.hive.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${key}` },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    await answer.text();
    return answer.status;
  };
  const beat = (id: string) => ({ worker_id: id, timestamp: new Date().toISOString(), health_status: 'healthy' });
  expect(await send('POST', '/v1/heartbeat', one.api_key, beat(one.worker_id))).toBe(200);
  expect(await send('POST', '/v1/heartbeat', one.api_key, beat(other.worker_id))).toBe(401);
  expect(await send('POST', '/v1/heartbeat', one.api_key, beat('worker-none'))).toBe(401);
  expect(await send('POST', '/v1/heartbeat', TEST_KEY.reveal(), beat('worker-none'))).toBe(404);
  expect(await send('POST', '/v1/heartbeat', 'wrong', { not: 'valid' })).toBe(401);
  expect(await send('GET', `/v1/workers/${one.worker_id}`, one.api_key)).toBe(401);
  expect(await send('DELETE', `/v1/workers/${one.worker_id}`, one.api_key)).toBe(401);
  const keys = [one, other].map(({ api_key }) => api_key);
  expect(new Set([...keys, TEST_KEY.reveal()]).size).toBe(3);
});

it('a hive without a key takes the reports of a worker only with the key of that worker', async () => {
  hive = await TestHive.start();
  const { worker_id, api_key } = await hive.ready();
  const beat = async (headers: Record<string, string>) => {
    const body = JSON.stringify({ worker_id, timestamp: new Date().toISOString(), health_status: 'healthy' });
    const answer = await fetch(`${hive?.hive.url}/v1/heartbeat`, { method: 'POST', headers, body });
    const { error } = (await answer.json()) as { error?: { code: string } };
    return error?.code ?? answer.status;
  };
  expect(await beat({})).toBe('MISSING_API_KEY');
  expect(await beat({ Authorization: 'Bearer wrong' })).toBe('INVALID_API_KEY');
  expect(await beat({ Authorization: `Bearer ${api_key}` })).toBe(200);
});
