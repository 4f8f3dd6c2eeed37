import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { Crowd, type Listener } from './crowd.js';
import { underDeadline } from './under-deadline.js';

const passed = new RbeeError('REQUEST_TIMEOUT', 'the deadline has passed');
const listener = (deadline?: number): Listener => ({ narrate: () => undefined, pass: () => undefined, deadline });

describe('the deadline of a crowd', () => {
  it.each<[string, (number | undefined)[], number | undefined]>([
    ['nobody', [], undefined],
    ['one', [5], 5],
    ['several', [5, 9, 7], 9],
    ['several, of whom one has none', [5, undefined, 9], undefined],
  ])('of %s', (_who, deadlines, expected) => {
    const crowd = new Crowd();
    for (const deadline of deadlines) crowd.add(listener(deadline));
    expect(crowd.deadline).toBe(expected);
  });

  it('is that of those who are left', () => {
    const crowd = new Crowd();
    crowd.add(listener(5));
    const leave = crowd.add(listener(9));
    leave();
    expect(crowd.deadline).toBe(5);
  });
});

describe('work under a deadline', () => {
  /** Runs work that fails a few times while the deadline moves; returns the deadlines that it was done under. */
  async function run(deadlines: (number | undefined)[], error: Error, failures: number) {
    const seen: (number | undefined)[] = [];
    let looks = 0;
    const moving = {
      get deadline() {
        return deadlines[Math.min(looks, deadlines.length - 1)];
      },
    };
    const outcome = await underDeadline(moving, async (deadline) => {
      seen.push(deadline);
      looks++;
      if (seen.length <= failures) throw error;
      return 'done';
    }).catch((reason: unknown) => reason);
    return { seen, outcome };
  }

  it.each<[string, (number | undefined)[], Error, number, (number | undefined)[], unknown]>([
    ['that succeeds is done once', [5], passed, 0, [5], 'done'],
    ['is done again when somebody has more time by now', [5, 9], passed, 1, [5, 9], 'done'],
    ['is done again when somebody has all the time by now', [5, undefined], passed, 1, [5, undefined], 'done'],
    ['ends when nobody has more time', [5, 5], passed, 9, [5], passed],
    ['ends when all have less time', [5, 3], passed, 9, [5], passed],
    ['ends when it gave up without a deadline', [undefined], passed, 9, [undefined], passed],
    ['ends with any other failure', [5, 9], new RbeeError('DISK_FULL', 'full'), 9, [5], expect.any(RbeeError)],
  ])('%s', async (_what, deadlines, error, failures, expected, end) => {
    const { seen, outcome } = await run(deadlines, error, failures);
    expect(seen).toEqual(expected);
    expect(outcome).toEqual(end);
  });
});
