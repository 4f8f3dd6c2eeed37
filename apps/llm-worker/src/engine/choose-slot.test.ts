import { describe, expect, it } from '@jest/globals';
import { chooseSlot, type SlotView } from './choose-slot.js';

const slot = (view: Partial<SlotView>): SlotView => ({ free: true, cached: 0, prefix: 0, lastUsed: 0, ...view });

describe('chooseSlot', () => {
  it.each<[string, number, SlotView[], number | undefined]>([
    ['none is free', 10, [slot({ free: false }), slot({ free: false })], undefined],
    [
      'the longest prefix',
      100,
      [slot({ cached: 90, prefix: 50, lastUsed: 1 }), slot({ cached: 90, prefix: 80, lastUsed: 2 })],
      1,
    ],
    ['a busy slot never, even with the whole prompt', 100, [slot({ free: false, prefix: 99 }), slot({})], 1],
    [
      'the least recently used of equals',
      100,
      [slot({ lastUsed: 3 }), slot({ lastUsed: 1 }), slot({ lastUsed: 2 })],
      1,
    ],
    [
      'an unused slot before one whose chat would be lost',
      30,
      [slot({ cached: 300, prefix: 3, lastUsed: 4 }), slot({})],
      1,
    ],
    [
      'a long system prompt, although a short chat behind it is lost',
      550,
      [slot({ cached: 700, prefix: 500, lastUsed: 4 }), slot({})],
      0,
    ],
    [
      'the same prompt again, although its long answer is lost',
      12,
      [slot({ cached: 180, prefix: 11, lastUsed: 4 }), slot({})],
      0,
    ],
    [
      'the next turn of a chat',
      200,
      [slot({ cached: 150, prefix: 149, lastUsed: 1 }), slot({ lastUsed: 2, cached: 10 }), slot({})],
      0,
    ],
    [
      'an old chat before the one in use',
      30,
      [
        slot({ cached: 100, lastUsed: 9 }),
        slot({ cached: 500, lastUsed: 1 }),
        slot({ cached: 500, lastUsed: 2 }),
        slot({ cached: 500, lastUsed: 3 }),
      ],
      1,
    ],
  ])('chooses %s', (_what, promptTokens, slots, expected) => {
    expect(chooseSlot(promptTokens, slots)).toBe(expected);
  });
});
