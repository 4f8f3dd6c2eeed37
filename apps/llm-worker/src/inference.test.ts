import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type EventStream, silentLogger, systemClock } from '@rbee/daemon-kit';
import { type InferenceEvent, inferenceRequestSchema, parseInput, RbeeError } from '@rbee/protocol';
import type { Engine } from './engine/engine.js';
import { loadBundled } from './engine/testing/engine-run.js';
import { type InferCall, infer } from './inference.js';
import { Jobs } from './jobs.js';
import { WorkerStatus } from './worker-status.js';

/** A reader that takes nothing until it is told to. */
class SlowReader {
  readonly frames: string[] = [];
  readonly events: InferenceEvent[] = [];
  #catchUp: (() => void) | undefined;

  open(): void {
    this.frames.length = 0;
  }

  send(event: InferenceEvent): boolean {
    this.events.push(event);
    return true;
  }

  sendFrame(frame: string): boolean {
    this.frames.push(frame);
    return false;
  }

  drained(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      this.#catchUp = () => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
    });
  }

  catchUp(): boolean {
    const resolve = this.#catchUp;
    this.#catchUp = undefined;
    resolve?.();
    return resolve !== undefined;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function waitFor(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

describe('infer, with a reader that is behind', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await loadBundled({ slots: 1 });
  });
  afterAll(() => engine.dispose());

  function start(reader_stall = 60_000) {
    const status = new WorkerStatus(1, silentLogger);
    status.loaded(engine);
    const abort = new AbortController();
    const body = parseInput(inferenceRequestSchema, { prompt: 'write a short story', temperature: 0 }, 'the request');
    const call: Partial<InferCall> = { body, signal: abort.signal, correlationId: 'c-1', log: silentLogger };
    const parts = { workerId: 'worker-1', modelRef: 'builtin:honeycomb', status, jobs: new Jobs(systemClock) };
    const reader = new SlowReader();
    const rest = { clock: systemClock, log: silentLogger, timeouts: { inference: 60_000, reader_stall } };
    const done = infer({ ...parts, ...rest }, call as InferCall, reader as unknown as EventStream<InferenceEvent>);
    return { reader, abort, done, parts };
  }

  it('asks the engine for no more than the reader has taken', async () => {
    const { reader, done } = start();
    for (let taken = 1; taken <= 5; taken++) {
      await waitFor(() => reader.frames.length === taken);
      for (let turns = 0; turns < 20; turns++) await turn();
      expect(reader.frames).toHaveLength(taken);
      // The token that was in the making when the reader fell behind is kept for it.
      await waitFor(() => reader.catchUp());
    }
    let ended = false;
    void done.then(() => {
      ended = true;
    });
    await waitFor(() => {
      reader.catchUp();
      return ended;
    });
    expect(reader.frames.length).toBeGreaterThan(100);
    expect(reader.events.at(-1)).toMatchObject({ type: 'end', tokens_out: reader.frames.length });
  });

  it('lets go of the slot when the reader takes nothing for too long', async () => {
    const { reader, done, parts } = start(30);
    await expect(done).rejects.toMatchObject({
      code: 'CANCELLED',
      details: { reason: 'reader_stalled', stall_ms: 30 },
    });
    expect([parts.status.slotsAvailable, parts.jobs.active]).toEqual([1, 0]);
    expect(reader.frames.length).toBeLessThanOrEqual(2);
  });

  it('lets go of the slot when the reader goes away', async () => {
    const { reader, abort, done, parts } = start();
    await waitFor(() => reader.frames.length === 1);
    abort.abort(new RbeeError('CANCELLED', 'the client closed the connection'));
    await expect(done).rejects.toMatchObject({ code: 'CANCELLED' });
    expect([parts.status.slotsAvailable, parts.jobs.active]).toEqual([1, 0]);
    expect(reader.frames.length).toBeLessThanOrEqual(2);
  });
});
