import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type Worker, workerSchema } from '@rbee/protocol';
import { NodeState } from './node-state.js';

const worker = (fields: Partial<Worker> = {}): Worker =>
  workerSchema.parse({
    ...{ id: 'worker-1', worker_id: 'worker-1', url: 'http://127.0.0.1:1', model_ref: 'hf:org/m', backend: 'cpu' },
    ...{ device: 0, state: 'idle', slots_total: 4, slots_available: 4, last_activity: '2030-01-01T00:00:00Z' },
    ...{ restart_count: 0, failed_health_checks: 0, pinned: true, model_digest: 'd', memory_bytes: 7 },
    ...fields,
  });

describe('what placement sees of a node', () => {
  let inFlight = 0;
  const usage = () => ({ inFlight, lastEndedMs: undefined });

  it('has what decides about a worker, with the counts of the queen as they are now', () => {
    const state = new NodeState(new ManualClock());
    state.keepWorker(worker());
    const [seen] = state.view(usage).workers;
    expect(seen).toMatchObject({
      ...{ worker_id: 'worker-1', model_ref: 'hf:org/m', backend: 'cpu', device: 0, state: 'idle', slots_total: 4 },
      ...{ slots_available: 4, pinned: true, model_digest: 'd', memory_bytes: 7, inFlight: 0 },
    });
    inFlight = 3;
    expect(seen?.inFlight).toBe(3);
    inFlight = 0;
  });

  it('is made anew after every change, and only then', () => {
    const state = new NodeState(new ManualClock());
    state.keepWorker(worker());
    const states = () => state.view(usage).workers.map((each) => each.state);
    expect(state.view(usage).workers).toBe(state.view(usage).workers);
    const changes: [() => unknown, string[]][] = [
      [() => state.keepWorker(worker({ state: 'busy' })), ['busy']],
      [() => state.noteWorker('worker-1', { state: 'idle', slots_available: undefined }), ['idle']],
      [() => state.markStale('worker-1'), ['stale-but-busy']],
      [() => state.forgetWorker('worker-1'), []],
    ];
    for (const [change, expected] of changes) {
      change();
      expect(states()).toEqual(expected);
    }
    state.keepWorker(worker());
    expect(states()).toEqual(['idle']);
    state.clear();
    expect(states()).toEqual([]);
  });
});

it('keeps the newest twenty warnings of a hive that warns without end', () => {
  const state = new NodeState(new ManualClock());
  for (let i = 0; i < 1_000; i++) state.warn(String(i));
  expect(state.warnings).toEqual(Array.from({ length: 20 }, (_, index) => String(980 + index)));
});

describe('a worker that has gone', () => {
  const ids = (state: NodeState) => state.listWorkers('node', 'url').map(({ worker_id }) => worker_id);

  it('is not brought back by an answer that was on its way', () => {
    const state = new NodeState(new ManualClock());
    state.keepWorker(worker());
    expect(state.removeWorker('worker-1')).toBe(true);
    state.learnWorker(worker());
    expect(ids(state)).toEqual([]);
  });

  it('is there again when the hive itself says so', () => {
    const state = new NodeState(new ManualClock());
    state.removeWorker('worker-1');
    state.keepWorker(worker());
    expect(ids(state)).toEqual(['worker-1']);
  });

  it('that only the queen has given up is learned of again', () => {
    const state = new NodeState(new ManualClock());
    state.keepWorker(worker());
    state.forgetWorker('worker-1');
    state.learnWorker(worker());
    expect(ids(state)).toEqual(['worker-1']);
  });
});
