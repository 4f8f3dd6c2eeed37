import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { callJson, identify, isRunning } from '@rbee/daemon-kit';
import { hiveRoutes } from '@rbee/protocol';
import { TestHive } from '../test/test-hive.js';

const DEEDS = [
  'says nothing',
  'hangs in the middle of an answer',
  'trickles its head',
  'trickles an answer',
  'sends garbage',
  'sends an endless header',
  'answers with JSON of another shape',
] as const;
const EVIL_WORKER = fileURLToPath(new URL('../test/evil-worker.mjs', import.meta.url));
/** All limits that a worker could make the hive wait for. */
const SHORT = {
  connect: 200,
  health_poll: 200,
  health_call: 150,
  canary: 300,
  canary_answer: 200,
  shutdown_ack: 200,
  drain: 400,
  kill: 400,
  hive_shutdown: 2_000,
  ready_poll: 50,
  model_load: 3_000,
  restart_wait: 50,
};
/** The longest that anything may take with these limits; a process needs a moment to start. */
const BOUND_MS = 8_000;

describe('a worker that does evil', () => {
  let hive: TestHive | undefined;

  afterEach(async () => {
    const began = performance.now();
    await hive?.stop();
    expect(performance.now() - began).toBeLessThan(BOUND_MS);
    hive = undefined;
  });

  async function start(match: string, deed: string): Promise<TestHive> {
    const script = { evil: [{ match, deed }] };
    hive = await TestHive.start({ workerPath: EVIL_WORKER, script, timeouts: SHORT });
    return hive;
  }

  async function staysWell(one: TestHive): Promise<void> {
    const began = performance.now();
    await callJson(one.target, hiveRoutes.health, { timeoutMs: 1_000 });
    expect(performance.now() - began).toBeLessThan(1_000);
  }

  it.each(DEEDS)('%s when it is asked how it is: it is ended', async (deed) => {
    const one = await start('^GET /health', deed);
    const { worker_id } = await one.spawn();
    const pid = (await one.worker(worker_id)).pid ?? 0;
    const process = identify(pid);
    await one.until((workers) => workers.every(({ id }) => id !== worker_id));
    if (process) await until(() => !isRunning(process));
    await staysWell(one);
  });

  it.each(DEEDS)('%s when it is sent a canary: the hive goes on', async (deed) => {
    const one = await start('canary', deed);
    const { worker_id } = await one.spawn();
    expect((await one.startEvents(worker_id)).at(-1)).toMatchObject({ type: 'end' });
    // Silence of an engine is a reason to replace its worker.
    if (/says nothing|trickles|hangs/.test(deed)) {
      await one.until((workers) => workers.length > 0 && workers.every(({ id }) => id !== worker_id));
    }
    await staysWell(one);
  });

  it.each(DEEDS)('%s when its loading is followed: the start comes to an end', async (deed) => {
    const one = await start('loading/progress', deed);
    const { worker_id } = await one.spawn();
    const began = performance.now();
    expect((await one.startEvents(worker_id)).at(-1)?.type).toMatch(/^(end|error)$/);
    expect(performance.now() - began).toBeLessThan(BOUND_MS);
    await staysWell(one);
  });

  it.each(DEEDS)('%s when it is asked to end: it is ended', async (deed) => {
    const one = await start('shutdown', deed);
    const { worker_id } = await one.spawn();
    await one.startEvents(worker_id);
    const process = identify((await one.worker(worker_id)).pid ?? 0);
    await one.shutDownWorker(worker_id);
    await one.until((workers) => workers.length === 0);
    if (process) await until(() => !isRunning(process));
    await staysWell(one);
  });
});

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + BOUND_MS;
  while (!condition()) {
    expect(performance.now()).toBeLessThan(end);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
