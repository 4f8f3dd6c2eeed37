import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import { LineFollower } from './line-follower.js';
import { LogReader, mergeByTime } from './log-reader.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-logs-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const quick = { drained: async () => undefined };

/** Collects lines and lets a test wait until there are enough. */
function collector() {
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  return {
    lines,
    take(line: string) {
      lines.push(line);
      wake();
    },
    async atLeast(count: number) {
      while (lines.length < count) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

describe('LineFollower', () => {
  it('reads what is there, what is added, and an unfinished last line at the end', async () => {
    const path = join(folder, 'a.log');
    writeFileSync(path, 'skipped\none\n');
    const { lines, take, atLeast } = collector();
    const follower = await LineFollower.start(path, 8, systemClock, take);
    expect(lines).toEqual(['one']);
    appendFileSync(path, 'tw');
    appendFileSync(path, 'o\nthr\u00e9e\nfour');
    await atLeast(3);
    await follower.finish();
    expect(lines).toEqual(['one', 'two', 'thr\u00e9e', 'four']);
  });

  it('cuts a line without end', async () => {
    const path = join(folder, 'long.log');
    writeFileSync(path, `${'x'.repeat(500_000)}\nend\n`);
    const { lines, take } = collector();
    await (await LineFollower.start(path, 0, systemClock, take)).finish();
    expect(lines.at(-1)).toBe('end');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(128 * 1024);
  });
});

describe('LogReader', () => {
  const line = (second: number, msg: string) => JSON.stringify({ time: `2030-01-01T00:00:0${second}Z`, msg });
  const reader = () => new LogReader(folder, join(folder, 'rbee-hive.log'), systemClock);

  it('has no lines when the folder was removed', async () => {
    const gone = new LogReader(join(folder, 'gone'), join(folder, 'gone', 'rbee-hive.log'), systemClock);
    let text = '';
    const write = (part: string) => {
      text += part;
      return true;
    };
    await gone.write({ lines: 10, follow: false }, { ...quick, write }, new AbortController().signal);
    expect(text).toBe('');
  });

  beforeEach(() => {
    writeFileSync(join(folder, 'rbee-hive.log'), `${line(1, 'hive')}\n${line(4, 'hive again')}\n`);
    writeFileSync(join(folder, 'worker-a.log'), `${line(2, 'worker')}\nplain text of the engine\n`);
  });
  const read = async (query: { lines: number; worker_id?: string }) => {
    let text = '';
    const sink = {
      ...quick,
      write(more: string) {
        text += more;
        return true;
      },
    };
    await reader().write({ follow: false, ...query }, sink, new AbortController().signal);
    return text.split('\n').slice(0, -1);
  };

  it('puts the lines of all files in order and keeps the newest', async () => {
    const all = [line(1, 'hive'), line(2, 'worker'), 'plain text of the engine', line(4, 'hive again')];
    await expect(read({ lines: 100 })).resolves.toEqual(all);
    await expect(read({ lines: 2 })).resolves.toEqual(all.slice(-2));
    await expect(read({ lines: 0 })).resolves.toEqual([]);
  });

  it('reads one worker alone', async () => {
    await expect(read({ lines: 1, worker_id: 'worker-a' })).resolves.toEqual(['plain text of the engine']);
    await expect(read({ lines: 1, worker_id: 'worker-b' })).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
  });

  it('follows all files, those of new workers too, until it is stopped', async () => {
    const { lines, take, atLeast } = collector();
    const stop = new AbortController();
    const sink = {
      ...quick,
      write(text: string) {
        if (text !== '') take(text.trim());
        return true;
      },
    };
    const done = reader().write({ follow: true, lines: 1 }, sink, stop.signal);
    await atLeast(1);
    appendFileSync(join(folder, 'worker-a.log'), 'more\n');
    await atLeast(2);
    writeFileSync(join(folder, 'worker-b.log'), 'new\n');
    await atLeast(3);
    stop.abort();
    await done;
    expect(lines).toEqual([line(4, 'hive again'), 'more', 'new']);
  });
});

it('mergeByTime keeps lines without a time behind the line they follow', () => {
  const merged = mergeByTime([
    ['{"time":"2"}', 'stack of 2'],
    ['before all', '{"time":"1"}', '{"time":"3"}'],
  ]);
  expect(merged).toEqual(['before all', '{"time":"1"}', '{"time":"2"}', 'stack of 2', '{"time":"3"}']);
});

it('a follower waits for a taker that is behind', async () => {
  const path = join(folder, 'fast.log');
  writeFileSync(path, 'x\n'.repeat(100_000));
  let taken = 0;
  let release: () => void = () => undefined;
  const pace = () => new Promise<void>((resolve) => (release = resolve));
  const take = () => {
    taken++;
  };
  const starting = LineFollower.start(path, 0, systemClock, take, pace);
  while (taken === 0) await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  const afterFirstBlock = taken;
  expect(afterFirstBlock).toBeLessThan(100_000);
  let done = false;
  const follower = starting.finally(() => {
    done = true;
  });
  while (!done) {
    release();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(taken).toBe(100_000);
  const finished = (await follower).finish();
  release();
  await finished;
});
