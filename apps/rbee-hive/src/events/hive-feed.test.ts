import { describe, expect, it } from '@jest/globals';
import type { HiveEvent } from '@rbee/protocol';
import { EventLog } from './event-log.js';
import { type EventSink, HiveFeed } from './hive-feed.js';

const resources = {
  ram_total_gb: 1,
  ram_available_gb: 1,
  disk_total_gb: 1,
  disk_available_gb: 1,
  ram_available_mb: 1,
  disk_available_mb: 1,
  gpus: [],
};
const snapshot = { type: 'snapshot' as const, version: '0.1.0', workers: [], models: [], backends: [], resources };
const said = (human: string): HiveEvent => ({
  type: 'narration',
  actor: 'rbee-hive',
  action: 'startup',
  target: 'x',
  human,
});

function record() {
  const seen: [string, string | undefined][] = [];
  const sink: EventSink<HiveEvent> = {
    send(event, id) {
      seen.push([event.type === 'narration' ? event.human : event.type, id]);
      return true;
    },
    drained: async () => undefined,
  };
  return { seen, sink };
}

const never = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('HiveFeed', () => {
  const feedOf = () => new HiveFeed('run', async () => snapshot);

  it('starts with a snapshot, follows with changes and ends once', async () => {
    const feed = feedOf();
    feed.publish(said('before'));
    const { seen, sink } = record();
    const done = feed.stream(sink, undefined, never);
    await turn();
    expect(feed.listeners).toBe(1);
    feed.publish(said('after'));
    await turn();
    feed.close('stopped');
    await done;
    expect(seen).toEqual([
      ['snapshot', 'run-1'],
      ['after', 'run-2'],
      ['end', undefined],
    ]);
    expect(feed.listeners).toBe(0);
  });

  it('gives a returning listener what it missed', async () => {
    const feed = feedOf();
    for (const human of ['1', '2', '3']) feed.publish(said(human));
    feed.close('stopped');
    const { seen, sink } = record();
    await feed.stream(sink, 'run-1', never);
    expect(seen).toEqual([
      ['2', 'run-2'],
      ['3', 'run-3'],
      ['end', undefined],
    ]);
  });

  it.each(['other-1', 'run-99', 'run-x', ''])('answers the id %j with a new snapshot', async (id) => {
    const feed = feedOf();
    feed.publish(said('1'));
    feed.close('stopped');
    const { seen, sink } = record();
    await feed.stream(sink, id, never);
    expect(seen.map(([what]) => what)).toEqual(['snapshot', 'end']);
  });

  it('gives a listener that fell too far behind a new snapshot', async () => {
    const feed = feedOf();
    const { seen, sink } = record();
    let release: () => void = () => undefined;
    sink.drained = () => new Promise((resolve) => (release = resolve));
    const send = sink.send;
    sink.send = (event, id) => send(event, id) && seen.length !== 1;
    const done = feed.stream(sink, undefined, never);
    await turn();
    for (let index = 0; index < 2500; index++) feed.publish(said(String(index)));
    release();
    await turn();
    feed.close('stopped');
    await done;
    expect(seen.map(([what]) => what)).toEqual(['snapshot', 'snapshot', 'end']);
  });

  it('stops when the listener is gone', async () => {
    const feed = feedOf();
    const gone = new AbortController();
    const done = feed.stream(record().sink, undefined, gone.signal);
    await turn();
    gone.abort(new Error('gone'));
    await expect(done).rejects.toThrow('gone');
    expect(feed.listeners).toBe(0);
  });
});

it('EventLog keeps at least its capacity and forgets the rest', () => {
  const log = new EventLog<number>(10);
  for (let event = 1; event <= 100; event++) log.append(event);
  expect(log.since(91)?.map(({ seq, event }) => [seq, event])).toEqual(
    Array.from({ length: 10 }, (_, index) => [91 + index, 91 + index]),
  );
  expect(log.since(1)).toBeNull();
  expect(log.since(101)).toEqual([]);
  log.close();
  log.append(101);
  expect(log.since(101)).toEqual([]);
});
