import { describe, expect, it } from '@jest/globals';
import type { TaskEvent } from '@rbee/protocol';
import fc from 'fast-check';
import { endEvent } from '../testing/scripted-queen.js';
import { TaskCursor } from './task-cursor.js';

const token = (i: number): TaskEvent => ({ type: 'token', t: String(i), i });
const narration: TaskEvent = { type: 'narration', actor: 'a', action: 'b', target: 'c', human: 'd' };

describe('TaskCursor', () => {
  it.each<[string | undefined, string | undefined, 'next' | 'seen']>([
    ['1-3', '1-4', 'next'],
    ['1-3', '1-3', 'seen'],
    ['1-3', '1-2', 'seen'],
    ['1-10', '1-9', 'seen'],
    ['1-9', '2-1', 'next'],
    ['2-1', '1-9', 'seen'],
    ['1-3', undefined, 'next'],
    [undefined, '1-1', 'next'],
    ['1-3', 'garbage', 'next'],
    ['1-3', '9999999999999999-1', 'next'],
  ])('behind %s, %s is %s', (last, id, verdict) => {
    const cursor = new TaskCursor();
    cursor.note(narration, last);
    expect(cursor.judge(narration, id)).toBe(verdict);
  });

  it('tells tokens apart by their index alone, and never misses an end', () => {
    const cursor = new TaskCursor();
    cursor.note(token(0), '1-5');
    expect(cursor.judge(token(0), '2-1')).toBe('seen');
    expect(cursor.judge(token(1), '1-5')).toBe('next');
    expect(cursor.judge(token(2), '1-7')).toBe('gap');
    expect(cursor.judge(endEvent(1), '1-1')).toBe('next');
  });

  it('goes on behind the newest event that it was told of', () => {
    const cursor = new TaskCursor();
    expect([cursor.isFresh, cursor.lastEventId]).toEqual([true, undefined]);
    for (const id of ['1-1', '1-2', undefined, '1-1', '2-1']) cursor.note(narration, id);
    expect([cursor.isFresh, cursor.lastEventId]).toEqual([false, '2-1']);
    cursor.rewind();
    expect(cursor.lastEventId).toBeUndefined();
    expect(cursor.judge(narration, '2-1')).toBe('seen');
    cursor.restart();
    expect(cursor.isFresh).toBe(true);
    expect(cursor.judge(narration, '1-1')).toBe('next');
  });

  it('takes every token once and in order, whatever is sent again', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(12), { maxLength: 200 }), (indexes) => {
        const cursor = new TaskCursor();
        const taken: number[] = [];
        for (const i of indexes) {
          if (cursor.judge(token(i), undefined) !== 'next') continue;
          cursor.note(token(i), undefined);
          taken.push(i);
        }
        expect(taken).toEqual(taken.map((_, index) => index));
        expect(cursor.tokens).toBe(taken.length);
      }),
    );
  });
});
