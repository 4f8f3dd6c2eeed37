import { describe, expect, it } from '@jest/globals';
import type { EventStream } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { InferenceEvent } from '@rbee/protocol';
import { Jobs } from './jobs.js';
import { Reader } from './reader.js';

const METRICS = { type: 'metrics' } as InferenceEvent;

/** A stream whose reader takes what it is told to take. */
function setUp() {
  const clock = new ManualClock();
  const job = new Jobs(clock).begin('job-1');
  const written: string[] = [];
  let behind = false;
  let drain: () => void = () => undefined;
  const stream = {
    send: (event: InferenceEvent) => written.push(event.type) > 0 && !behind,
    sendFrame: (frame: string) => written.push(frame) > 0 && !behind,
    drained: (signal: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        drain = resolve;
      }),
  } as unknown as EventStream<InferenceEvent>;
  const reader = new Reader({ stream, job, clock, stallMs: 60_000 });
  return {
    clock,
    job,
    reader,
    written,
    fallBehind: () => {
      behind = true;
    },
    catchUp: () => {
      behind = false;
      drain();
    },
  };
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('a reader that takes nothing', () => {
  it('ends its job after the limit, and not a moment before', async () => {
    const { clock, job, reader, fallBehind } = setUp();
    fallBehind();
    expect(reader.push('a')).toBeUndefined();
    await turns();
    const stalled = { code: 'CANCELLED', details: { reason: 'reader_stalled' } };
    const ended = expect(reader.push('b')).rejects.toMatchObject(stalled);
    await clock.advance(59_999);
    expect(job.signal.aborted).toBe(false);
    await clock.advance(1);
    await ended;
    expect(clock.pending).toBe(0);
  });

  it('is told by events as well as by tokens', async () => {
    const { clock, job, reader, fallBehind } = setUp();
    fallBehind();
    reader.send(METRICS);
    expect(reader.behind).toBe(true);
    const ended = expect(reader.push('a')).rejects.toMatchObject({ code: 'CANCELLED' });
    await clock.advance(60_000);
    await ended;
    expect(job.signal.aborted).toBe(true);
  });

  it('has at most one frame held for it', async () => {
    const { reader, fallBehind, catchUp, written } = setUp();
    fallBehind();
    void reader.push('a');
    await turns();
    const held = reader.push('b');
    await turns();
    expect(written).toEqual(['a']);
    catchUp();
    await held;
    expect(written).toEqual(['a', 'b']);
    expect(reader.behind).toBe(false);
  });

  it('starts anew with each time that it reads', async () => {
    const { clock, job, reader, fallBehind, catchUp } = setUp();
    for (let time = 0; time < 5; time++) {
      fallBehind();
      reader.send(METRICS);
      const held = reader.push('a');
      await clock.advance(50_000);
      catchUp();
      await held;
    }
    expect([job.signal.aborted, clock.pending]).toEqual([false, 0]);
  });
});
