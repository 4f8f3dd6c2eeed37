import { describe, expect, it } from '@jest/globals';
import { RbeeError, SseDecoder, type TaskEvent } from '@rbee/protocol';
import fc from 'fast-check';
import { isBehind, readEventId } from './event-id.js';
import { type LogReader, TaskLog, type TaskLogOptions } from './task-log.js';
import type { MessageKind } from './task-output.js';

const accepted: TaskEvent = { type: 'accepted', job_id: 'j', correlation_id: 'c', node: undefined, model: 'm' };
const narration = (human: string): TaskEvent => ({
  ...{ type: 'narration', actor: 'queen-rbee', action: 'retry', target: 't', human },
});
const progress = (percent: number): TaskEvent => ({
  ...{ type: 'progress', phase: 'load', stage: 'loading_to_vram', percent },
});
const relay = (log: TaskLog, event: MessageKind, fields: object = {}) =>
  log.relay({ event, data: JSON.stringify({ type: event, ...fields }) }, event, new AbortController().signal);
/** What nobody waits for. */
const add = (log: TaskLog, event: MessageKind, fields?: object): void => void relay(log, event, fields);
const start = (log: TaskLog) => add(log, 'started');
const token = (log: TaskLog, i: number) => add(log, 'token', { t: 'x', i });
const end = (log: TaskLog) => add(log, 'end');

/** A reader that takes what there is, when it is told to. */
class Taker implements LogReader {
  cursor = 0;
  wakes = 0;
  readonly frames: string[] = [];

  constructor(
    readonly log: TaskLog,
    readonly holdsBack = true,
  ) {}

  wake(): void {
    this.wakes++;
  }

  take(): boolean {
    const { frames, terminal } = this.log.read(this);
    this.frames.push(frames);
    return terminal;
  }

  get events() {
    const messages = new SseDecoder().push(Buffer.from(this.frames.join('')));
    return messages.map(({ event, data, id }) => ({ event, id, data: JSON.parse(data) }));
  }
}

function build(options: Partial<TaskLogOptions> = {}) {
  const log = new TaskLog({ run: 1, ...options });
  const reader = new Taker(log);
  log.attach(reader, undefined);
  return { log, reader };
}

const settled = async (promise: Promise<void> | undefined) =>
  promise === undefined ||
  (await Promise.race([promise.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]));

describe('what a log takes', () => {
  it('is seen when it was committed, not before', () => {
    const { log, reader } = build();
    log.tell(accepted);
    reader.take();
    expect(reader.events).toEqual([]);
    log.commit();
    expect(reader.wakes).toBe(1);
    reader.take();
    expect(reader.events).toMatchObject([{ event: 'accepted', id: '1-1' }]);
  });

  it('is one accepted, one started, and only narration of the queen behind it', () => {
    const { log, reader } = build();
    log.tell(accepted);
    log.tell(accepted);
    start(log);
    token(log, 0);
    start(log);
    log.tell(narration('more'));
    log.tell({ type: 'queued', position: 1, eta_ms: undefined, reason: 'r' });
    token(log, 1);
    log.commit();
    reader.take();
    expect(reader.events.map(({ event }) => event)).toEqual(['accepted', 'started', 'token', 'narration', 'token']);
  });

  it('ends with the first terminal event', () => {
    const { log, reader } = build();
    log.tell(accepted);
    end(log);
    log.fail(new RbeeError('CANCELLED', 'late'), 'c');
    log.tell(narration('late'));
    token(log, 0);
    end(log);
    log.commit();
    expect(reader.take()).toBe(true);
    expect(reader.events.map(({ event }) => event)).toEqual(['accepted', 'end']);
    expect(log.failure).toBeUndefined();
  });

  it('shows only the newest figure of several, also to who has read an older one', () => {
    const { log, reader } = build();
    log.tell(accepted);
    for (const percent of [1, 2]) log.tell(progress(percent));
    log.commit();
    reader.take();
    for (const percent of [3, 4]) log.tell(progress(percent));
    log.commit();
    reader.take();
    const late = new Taker(log);
    log.attach(late, undefined);
    late.take();
    expect(reader.events.map(({ data }) => data.percent)).toEqual([undefined, 2, 4]);
    expect(late.events.map(({ data }) => data.percent)).toEqual([undefined, 4]);
  });

  it('is bounded where it is no part of the answer, and nothing of the answer is forgotten', () => {
    const { log, reader } = build();
    log.tell(accepted);
    start(log);
    for (let i = 0; i < 5_000; i++) {
      token(log, i);
      log.tell(narration(String(i)));
      log.commit();
      reader.take();
    }
    const late = new Taker(log);
    log.attach(late, undefined);
    for (let before = -1; before !== late.cursor; ) {
      before = late.cursor;
      late.take();
    }
    const of = (taker: Taker, kind: string) => taker.events.filter(({ event }) => event === kind);
    for (const taker of [reader, late])
      expect(of(taker, 'token').map(({ data }) => data.i)).toEqual([...Array(5_000).keys()]);
    expect(of(reader, 'narration')).toHaveLength(5_000);
    expect(of(late, 'narration').length).toBeLessThanOrEqual(1_000);
    expect(of(late, 'narration').at(-1)?.data.human).toBe('4999');
  });

  it('is bounded in characters too, and the newest word of a talkative worker is kept', () => {
    const { log } = build();
    log.tell(accepted);
    start(log);
    const size = 1024 * 1024;
    for (let i = 0; i < 20; i++) {
      token(log, i);
      log.tell(narration(`${i} ${'x'.repeat(size)}`));
      log.commit();
    }
    const late = new Taker(log);
    log.attach(late, undefined);
    for (let before = -1; before !== late.cursor; ) {
      before = late.cursor;
      late.take();
    }
    const kept = late.events.filter(({ event }) => event === 'narration');
    expect(kept.length).toBeLessThanOrEqual(4);
    expect(String(kept.at(-1)?.data.human)).toMatch(/^19 /);
    expect(late.events.filter(({ event }) => event === 'token')).toHaveLength(20);
  });

  it('is what the journal gets: the answer and nothing else, each event once', () => {
    const { log } = build();
    log.tell(accepted);
    log.tell(narration('a'));
    log.commit();
    expect(log.unwritten).toEqual([]);
    start(log);
    token(log, 0);
    expect(log.unwritten.map(({ kind, n }) => [kind, n])).toEqual([
      ['started', 3],
      ['token', 4],
    ]);
    log.commit();
    expect(log.written().map(({ kind }) => kind)).toEqual(['accepted', 'started', 'token']);
  });
});

describe('a reader', () => {
  it('gets every event in order, exactly once, whatever comes in between and wherever it breaks off', () => {
    const step = fc.constantFrom('token', 'narration', 'progress', 'commit', 'read', 'break');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const log = new TaskLog({ run: 1 });
        let reader = new Taker(log);
        const seen: string[] = [];
        const finish = () => {
          seen.push(...reader.events.map(({ id }) => String(id)));
          log.detach(reader);
        };
        log.attach(reader, undefined);
        log.tell(accepted);
        let tokens = 0;
        for (const each of steps) {
          if (each === 'token') token(log, tokens++);
          else if (each === 'narration') log.tell(narration('n'));
          else if (each === 'progress') log.tell(progress(1));
          else if (each === 'commit') log.commit();
          else if (each === 'read') reader.take();
          else {
            finish();
            reader = new Taker(log);
            log.attach(reader, readEventId(seen.at(-1)));
          }
        }
        end(log);
        log.commit();
        while (!reader.take());
        finish();
        const places = seen.map((id) => readEventId(id) ?? { run: 0, n: 0 });
        for (const [index, place] of places.entries())
          if (index > 0) expect(isBehind(place, places[index - 1] ?? place)).toBe(true);
        const late = new Taker(log);
        log.attach(late, undefined);
        while (!late.take());
        const answer = late.events.filter(({ event }) => event !== 'progress').map(({ id }) => id);
        expect(seen).toEqual(expect.arrayContaining(answer));
        expect(late.events.filter(({ event }) => event === 'token').map(({ data }) => data.i)).toEqual([
          ...Array(tokens).keys(),
        ]);
      }),
    );
  });

  it('goes on behind an event of an earlier queen with those of this one', () => {
    const earlier = ['accepted', 'started', 'token'].map((kind, index) => ({
      run: 1,
      n: index * 5 + 1,
      kind,
      data: '{}',
    }));
    const { log } = build({ run: 2, earlier });
    log.tell(narration('going on'));
    token(log, 1);
    log.commit();
    const idsAfter = (id: string) => {
      const reader = new Taker(log);
      log.attach(reader, readEventId(id));
      reader.take();
      return reader.events.map(({ id }) => id);
    };
    expect(idsAfter('1-1')).toEqual(['1-6', '1-11', '2-1', '2-2']);
    // Narration that nobody keeps: a place between two events.
    expect(idsAfter('1-8')).toEqual(['1-11', '2-1', '2-2']);
    expect(idsAfter('1-99')).toEqual(['2-1', '2-2']);
    expect(idsAfter('2-1')).toEqual(['2-2']);
  });
});

describe('a reader that is slow', () => {
  const fill = (log: TaskLog, count: number, size = 1) => {
    let behind: Promise<void> | undefined;
    for (let i = 0; i < count; i++) behind = relay(log, 'token', { t: 'x'.repeat(size), i }) ?? behind;
    return behind;
  };

  it('holds the worker back when it is 64 events behind, until it is half as many', async () => {
    const { log, reader } = build();
    expect(fill(log, 64)).toBeUndefined();
    const behind = fill(log, 1);
    log.commit();
    expect(await settled(behind)).toBe(false);
    reader.take();
    expect(await settled(behind)).toBe(true);
  });

  it('holds the worker back when it is 256 KiB behind', async () => {
    const { log, reader } = build();
    const behind = fill(log, 3, 100_000);
    log.commit();
    expect(await settled(behind)).toBe(false);
    reader.take();
    expect(await settled(behind)).toBe(false);
    reader.take();
    expect(await settled(behind)).toBe(true);
  });

  it('lets the worker go when it leaves, or when the task ends', async () => {
    const { log, reader } = build();
    const left = fill(log, 100);
    log.detach(reader);
    expect(await settled(left)).toBe(true);
    expect(fill(log, 100)).toBeUndefined();
    log.attach(reader, undefined);
    const abort = new AbortController();
    const data = { event: 'token', data: '{}' };
    const behind = log.relay(data, 'token', abort.signal);
    abort.abort(new Error('over'));
    await expect(behind).rejects.toThrow('over');
  });

  it('does not hold the worker back where its answer is collected', () => {
    const log = new TaskLog({ run: 1 });
    log.attach(new Taker(log, false), undefined);
    expect(fill(log, 1_000)).toBeUndefined();
  });
});
