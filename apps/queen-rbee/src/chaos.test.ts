import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedHive } from './testing/scripted-hive.js';
import { type JobScript, ScriptedWorker, say } from './testing/scripted-worker.js';
import { TestQueen } from './testing/test-queen.js';

/** A small generator of reproducible random numbers (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** Tokens, pauses, and one of many endings. */
function anything(worker: ScriptedWorker, next: () => number): JobScript {
  return async ({ stream }) => {
    const tokens = Math.floor(next() * 6);
    for (let i = 0; i < tokens; i++) {
      stream.send({ type: 'token', t: 'x', i });
      await turns(Math.floor(next() * 3));
    }
    const ending = next();
    if (ending < 0.4) stream.send({ type: 'end', tokens_out: tokens, decode_time_ms: 1, stop_reason: 'EOS' });
    else if (ending < 0.5) stream.fail(new RbeeError('INFERENCE_FAILED', 'engine'), 'c');
    else if (ending < 0.6) stream.fail(new RbeeError('CANCELLED', 'drained'), 'c');
    else if (ending < 0.7) worker.dropConnections();
    else if (ending < 0.75) await worker.crash();
    await new Promise(() => undefined);
  };
}

describe('whatever happens', () => {
  it.each([1, 2, 3])('every task ends with one terminal event, and every slot comes back (seed %i)', async (seed) => {
    const next = random(seed);
    let calm = false;
    const hive = await new ScriptedHive().start();
    hive.makeWorker = () => {
      const worker = new ScriptedWorker(3);
      const wild = anything(worker, next);
      worker.script = (job) => (calm ? say(['calm'])(job) : wild(job));
      return worker;
    };
    const queen = await TestQueen.start({
      hivePort: hive.port,
      timeouts: { stall: 150, first_byte: 150, cancel_ack: 100, busy_retry: 5, slot_wait: 2_000, ready_poll: 10 },
    });
    try {
      const run = async (index: number) => {
        await turns(Math.floor(next() * 40));
        const abort = new AbortController();
        const job_id = `job-${index}`;
        const answer = await queen.task({ job_id, timeout_seconds: 2 }, { signal: abort.signal });
        const fate = next();
        await turns(Math.floor(next() * 30));
        if (fate < 0.2) {
          abort.abort();
          return undefined;
        }
        if (fate < 0.4) await queen.call('DELETE', `/v2/tasks/${job_id}`);
        return answer.all;
      };
      const all = await Promise.all(Array.from({ length: 30 }, (_, index) => run(index)));
      for (const events of all) {
        if (!events) continue;
        expect(events.filter(({ type }) => type === 'end' || type === 'error')).toHaveLength(1);
        expect(events.slice(-2).map(({ type }) => type)).toEqual([expect.stringMatching(/^(end|error)$/), '[DONE]']);
        expect(events.filter(({ type }) => type === 'accepted')).toHaveLength(1);
        expect(events.filter(({ type }) => type === 'started').length).toBeLessThanOrEqual(1);
        const indexes = events.filter(({ type }) => type === 'token').map(({ i }) => i);
        expect(indexes).toEqual(indexes.map((_, index) => index));
        const positions = events.filter(({ type }) => type === 'queued').map(({ position }) => Number(position));
        expect(positions).toEqual([...positions].sort((a, b) => b - a));
      }
      calm = true;
      // Also of those tasks whose clients have left.
      for (const { worker } of hive.held.values()) await worker.watch.until(() => worker.jobs.size === 0);
      const after = await Promise.all(Array.from({ length: 6 }, async () => (await queen.task()).all));
      for (const events of after) expect(events.at(-2)).toMatchObject({ type: 'end' });
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});
