import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, systemClock } from '@rbee/daemon-kit/client';
import { EVILS, type Evil, EvilPeer, sendEvents } from '@rbee/daemon-kit/testing';
import { ScriptedQueen } from './testing/scripted-queen.js';
import { removeFolders, runKeeper } from './testing/start-keeper.js';

/** Time passes so many times faster for the keeper than for the test. */
const PACE = 20;
/** All limits that a queen could make a command wait for, in the keeper's time. */
const SHORT = {
  RBEE_NO_JITTER: '1',
  RBEE_T_CALL: '6s',
  RBEE_T_CONNECT: '6s',
  RBEE_T_QUEEN_PROBE: '4s',
  RBEE_T_QUEEN_HEALTHY: '10s',
  RBEE_T_KEEPER_WAITS_FOR_QUEEN: '6s',
  RBEE_T_CANCEL_ACK: '4s',
  RBEE_T_FIRST_BYTE: '6s',
  RBEE_T_MODEL_LOAD: '6s',
  RBEE_T_SLOT_WAIT: '6s',
  RBEE_T_STALL: '6s',
  RBEE_T_KEEP_ALIVE: '2s',
};
/** The longest that a command may take with these limits, whatever is done to it. */
const BOUND_MS = 8_000;

const fastClock: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * PACE,
  after: (ms, act) => systemClock.after(ms / PACE, act),
  every: (ms, act) => systemClock.every(ms / PACE, act),
};

let queen: ScriptedQueen;
let evil: EvilPeer;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
  evil = await EvilPeer.start({ behind: Number(new URL(queen.url).port) });
});
afterEach(async () => {
  await evil.stop();
  await queen.stop();
  removeFolders();
});

/** A queen at that address is never started: what evil does to starting one is not the question here. */
async function run(...command: string[]) {
  const began = performance.now();
  const ended = await runKeeper([...command, '--no-spawn'], { queenUrl: evil.url, variables: SHORT, clock: fastClock });
  expect(performance.now() - began).toBeLessThan(BOUND_MS);
  return ended;
}

/** Runs a command that meets evil: it ends well, or says what happened, why, and what to do. */
async function suffers(match: RegExp, deed: Evil, ...args: string[]): Promise<void> {
  evil.rules = [{ match, evil: deed }];
  const { code, stderr } = await run(...args);
  expect(evil.met).toBeGreaterThan(0);
  if (code !== 0) {
    expect(stderr).toMatch(/Error: \S/);
    expect(stderr).toMatch(/^ {2}code: [A-Z_]+$/m);
    expect(stderr).not.toMatch(/INTERNAL_ERROR|UnhandledPromise|\n +at /);
    // What to do comes behind the facts.
    expect(stderr.trimEnd().split('\n\n').length).toBeGreaterThan(1);
  }
  evil.rules = [];
  expect((await run(...args)).code).toBe(0);
  const deadline = performance.now() + BOUND_MS;
  while (evil.suffering > 0) {
    expect(performance.now()).toBeLessThan(deadline);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const infer = ['infer', '--prompt', 'hello'];
const places: Record<string, readonly [RegExp, ...string[]]> = {
  'when it is asked how it is': [/^GET \/health/, ...infer],
  'when a lease is asked for': [/^POST \/v2\/leases/, ...infer],
  'when a task is sent': [/^POST \/v2\/tasks/, ...infer],
  'when its workers are asked for': [/^GET \/v2\/workers\/list/, 'workers', 'list'],
};

describe.each(Object.entries(places))('a queen that, %s,', (_place, [match, ...args]) => {
  it.each(Object.entries(EVILS))('%s', (_name, deed) => suffers(match, deed, ...args));
});

describe('a queen that takes a task and', () => {
  const accepted = { type: 'accepted', job_id: 'j', correlation_id: 'c', model: 'm' };
  const started = { type: 'started', job_id: 'j', model: 'm', started_at: new Date(0).toISOString() };
  const token = (i: number) => ({ type: 'token', t: 'word ', i, ids: [i] });
  const end = { type: 'end', tokens_out: 2, decode_time_ms: 1, stop_reason: 'EOS' };
  const whole = [accepted, started, token(0), token(1), end];
  const lies: Record<string, Evil> = {
    'sends two ends': sendEvents([...whole, end], 'done'),
    'goes on after the end': sendEvents([...whole, token(2)], 'done'),
    'sends an end that is none': sendEvents([accepted, { type: 'end', tokens_out: 'many' }], 'done'),
    'hangs in the middle': sendEvents(whole.slice(0, 3), 'hang'),
    ...Object.fromEntries(
      whole.map((_, count) => [`closes after ${count} events`, sendEvents(whole.slice(0, count), 'close')]),
    ),
  };
  it.each(Object.entries(lies))('%s', (_name, deed) => suffers(/^POST \/v2\/tasks/, deed, ...infer));
});
