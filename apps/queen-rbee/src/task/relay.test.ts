import { describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, type IncomingStream, silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type SseMessage, taskRequestSchema } from '@rbee/protocol';
import { relay } from './relay.js';
import { Task } from './task.js';
import type { TaskOutput } from './task-output.js';

const clock = new ManualClock();
const build = () => {
  const request = taskRequestSchema.parse({ prompt: 'p', job_id: 'j' });
  const about = { id: 'j', ticket: 1, request, correlationId: 'c', deadline: undefined, client: 'here' };
  return new Task({ ...about, clock, log: silentLogger });
};
const options = {
  ...{ clock, timeouts: DEFAULT_TIMEOUTS, workerId: 'worker-1', modelDigest: 'd' },
  mayLeave: () => true,
};
const started = { type: 'started', job_id: 'j', model: 'm', started_at: '2030-01-01T00:00:00Z', prompt_ids: [1, 2] };

/** What a worker sends, made while it is read. */
function streamOf(events: Iterable<{ type: string }>): IncomingStream {
  async function* messages(): AsyncGenerator<SseMessage, void, void> {
    for (const event of events) yield { event: event.type, data: JSON.stringify(event) };
  }
  return { headers: {}, messages: messages(), close: () => undefined };
}

describe('the answer of a worker that never ends', () => {
  it('is refused before it fills the memory', async () => {
    const t = 'x'.repeat(4 * 1024 * 1024);
    let chars = 0;
    const output: TaskOutput = {
      tell: () => undefined,
      accept: () => undefined,
      relay: ({ data }) => {
        chars += data.length;
        return undefined;
      },
    };
    function* endless() {
      yield started;
      for (let i = 0; ; i++) yield { type: 'token', t, i, ids: [i] };
    }
    await expect(relay(streamOf(endless()), build(), output, options)).rejects.toMatchObject({
      code: 'INVALID_RESPONSE',
      message: expect.stringContaining('larger than 64 MiB'),
    });
    expect(chars).toBeLessThan(65 * 1024 * 1024);
    expect(clock.pending).toBe(0);
  });

  it('can be gone on with, however many ids one token has', () => {
    const { delivered } = build();
    delivered.promptIds = [1];
    const ids = Array.from({ length: 200_000 }, (_, id) => id);
    delivered.note(JSON.stringify({ type: 'token', t: 'x', i: 0, ids }));
    expect(delivered.toResume()?.ids).toHaveLength(200_000);
  });
});
