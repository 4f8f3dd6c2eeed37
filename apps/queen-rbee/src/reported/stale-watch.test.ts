import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type SilentWorker, StaleWatch } from './stale-watch.js';

const timeouts = { heartbeat_stale: 120_000, stale_busy: 300_000 };

let clock: ManualClock;
let watch: StaleWatch;
let jobs: number;
let lives: boolean;
let did: string[];
let lastSeen: number;
let asked: number;

beforeEach(() => {
  clock = new ManualClock();
  jobs = 0;
  lives = false;
  did = [];
  asked = 0;
  lastSeen = clock.now();
  const worker: SilentWorker = {
    id: 'w',
    ask: async () => {
      asked++;
      return lives;
    },
    touch: () => {
      lastSeen = clock.now();
      did.push('touch');
    },
    keepBusy: () => did.push('keep busy'),
    forget: () => {
      lastSeen = Number.POSITIVE_INFINITY;
      did.push('forget');
    },
  };
  watch = new StaleWatch({
    ...{ clock, timeouts, log: silentLogger },
    silentSince: (moment) => (lastSeen < moment ? [worker] : []),
    jobsOf: () => jobs,
  });
});

afterEach(() => {
  watch.close();
  expect(clock.pending).toBe(0);
});

describe('a worker of which nothing is heard', () => {
  it('is left alone for two minutes, then asked once and forgotten', async () => {
    await clock.advance(120_000);
    expect(asked).toBe(0);
    await clock.advance(5_000);
    expect([asked, did]).toEqual([1, ['forget']]);
    await clock.advance(600_000);
    expect(asked).toBe(1);
  });

  it('stays when it answers, and is asked again after another two minutes', async () => {
    lives = true;
    await clock.advance(125_000);
    expect(did).toEqual(['touch']);
    await clock.advance(120_000);
    expect(did).toEqual(['touch']);
    await clock.advance(5_000);
    expect(did).toEqual(['touch', 'touch']);
  });

  it('keeps its jobs, gets no new ones, and is forgotten when they have ended', async () => {
    jobs = 1;
    await clock.advance(125_000);
    expect(did).toEqual(['keep busy']);
    await clock.advance(100_000);
    expect(new Set(did)).toEqual(new Set(['keep busy']));
    jobs = 0;
    await clock.advance(5_000);
    expect(did.at(-1)).toBe('forget');
  });

  it('is forgotten after five minutes with a job that does not end', async () => {
    jobs = 1;
    await clock.advance(120_000 + 300_000);
    expect(did).not.toContain('forget');
    await clock.advance(10_000);
    expect(did.at(-1)).toBe('forget');
  });

  it('that answers again begins anew', async () => {
    jobs = 1;
    await clock.advance(125_000 + 290_000);
    lives = true;
    await clock.advance(5_000);
    expect(did.at(-1)).toBe('touch');
    lives = false;
    await clock.advance(125_000 + 100_000);
    expect(did).not.toContain('forget');
  });
});
