import { expect, it } from '@jest/globals';
import { Turns } from './turns.js';

const never = new AbortController().signal;

it('lets a bounded number in, in the order in which they came, and tells the others where they are', async () => {
  const turns = new Turns(2);
  const seen: string[] = [];
  const enter = async (name: string, signal = never) => {
    const leave = await turns.enter(signal, (position) => seen.push(`${name}${position}`));
    seen.push(name);
    return leave;
  };
  const gone = new AbortController();
  const [leaveA, leaveB] = await Promise.all([enter('a'), enter('b')]);
  const c = enter('c');
  const d = enter('d', gone.signal);
  const e = enter('e');
  await Promise.resolve();
  expect(seen.splice(0)).toEqual(['a', 'b', 'c1', 'd2', 'e3']);
  gone.abort(new Error('gone'));
  await expect(d).rejects.toThrow('gone');
  expect(seen.splice(0)).toEqual(['c1', 'e2']);
  leaveA();
  leaveA();
  (await c)();
  await e;
  expect(seen.splice(0)).toEqual(['e1', 'c', 'e']);
  leaveB();
  await enter('f');
  await expect(enter('g', gone.signal)).rejects.toThrow('gone');
});
