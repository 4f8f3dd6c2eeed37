import { describe, expect, it } from '@jest/globals';
import type { z } from 'zod';
import { hiveEventSchema } from './hive.js';
import { inferenceEventSchema } from './inference.js';
import { leaseEventSchema } from './queen.js';
import { decodeSse, encodeEvent } from './sse.js';
import { taskEventSchema } from './task.js';
import { workerStartEventSchema } from './worker.js';

type AnyEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

const narration = {
  type: 'narration',
  actor: 'rbee-hive',
  action: 'worker_start',
  target: 'worker-1',
  human: 'starting',
};
const error = {
  type: 'error',
  code: 'CANCELLED',
  message: 'stopped',
  details: { a: [1] },
  status: 499,
  retryable: false,
};
const progress = { type: 'progress', phase: 'download', bytes_downloaded: 5, bytes_total: 9, speed_mbps: 0.5 };

const generation = [
  { type: 'started', job_id: 'j-1', model: 'hf:org/repo', started_at: '2030-01-01T00:00:00Z' },
  { type: 'token', t: 'Ünce\n\u2028 upon', i: 0, ids: [1, 2] },
  narration,
  { type: 'metrics', job_id: 'j-1', tokens_out: 1, tokens_per_sec: 2.5, decode_time_ms: 3, vram_bytes: 0 },
  { type: 'end', tokens_out: 1, decode_time_ms: 3, stop_reason: 'STOP_SEQUENCE', stop_sequence_matched: '\n' },
  error,
];

const worker = {
  id: 'worker-1',
  worker_id: 'worker-1',
  url: 'http://127.0.0.1:8001',
  model_ref: 'builtin:honeycomb',
  backend: 'cpu',
  device: 0,
  state: 'idle',
  slots_total: 4,
  slots_available: 4,
  last_activity: '2030-01-01T00:00:00Z',
  restart_count: 0,
  failed_health_checks: 0,
  owned: false,
};

const streams: readonly (readonly [string, z.ZodType, readonly AnyEvent[]])[] = [
  ['an inference', inferenceEventSchema, generation],
  [
    'a task',
    taskEventSchema,
    [
      { type: 'accepted', job_id: 'j-1', correlation_id: 'c-1', node: 'localhost', model: 'hf:org/repo' },
      { type: 'queued', position: 2, eta_ms: 100, reason: 'all slots are busy' },
      progress,
      { type: 'worker', worker_id: 'worker-1', node: 'mac', url: 'http://mac:8001', state: 'idle', reused: true },
      ...generation,
    ],
  ],
  [
    'the start of a worker',
    workerStartEventSchema,
    [narration, progress, { type: 'end', worker_id: 'worker-1', state: 'idle' }, error],
  ],
  [
    'a hive',
    hiveEventSchema,
    [{ type: 'worker', change: 'added', worker }, narration, { type: 'end', reason: 'shutdown' }],
  ],
  [
    'a lease',
    leaseEventSchema,
    [
      { type: 'leased', lease_id: 'l-1', version: '0.1.0', pid: 5, ephemeral: true },
      { type: 'end', reason: 'shutdown' },
    ],
  ],
];

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`${text}data: [DONE]\n\n`);
}

describe.each(streams)('every event of %s', (_name, schema, events) => {
  it.each(events.map((event) => [event.type, event] as const))('comes through the wire: %s', async (type, event) => {
    for await (const message of decodeSse(once(encodeEvent(event, '7')), () => new Error('broken'))) {
      expect([message.event, message.id]).toEqual([type, '7']);
      expect(JSON.parse(JSON.stringify(schema.parse(JSON.parse(message.data))))).toEqual(event);
    }
    expect.assertions(2);
  });

  it('is refused without its fields, and when nobody knows it', () => {
    for (const { type } of events) expect(schema.safeParse({ type }).success).toBe(false);
    expect(schema.safeParse({ type: 'future' }).success).toBe(false);
  });
});
