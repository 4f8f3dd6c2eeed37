import { expect, it } from '@jest/globals';
import { Turns } from './turns.js';

const never = new AbortController().signal;

it('lets a bounded number in, in the order in which they came, and tells the others where they are', async () => {
  const turns = new Turns(() => 2);
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

it('lets more in as soon as more may run, and keeps others waiting while there are too many', async () => {
  let most = 1;
  const turns = new Turns(() => most);
  const seen: string[] = [];
  const enter = async (name: string) => {
    const leave = await turns.enter(never, (position) => seen.push(`${name}${position}`));
    seen.push(name);
    return leave;
  };
  const leaveA = await enter('a');
  const [b, c, d] = [enter('b'), enter('c'), enter('d')];
  expect(seen.splice(0)).toEqual(['a', 'b1', 'c2', 'd3']);
  most = 3;
  turns.changed();
  const [leaveB, leaveC] = await Promise.all([b, c]);
  expect(seen.splice(0)).toEqual(['d1', 'b', 'c']);
  most = 1;
  turns.changed();
  leaveA();
  leaveB();
  expect(seen).toEqual([]);
  leaveC();
  await d;
  expect(seen).toEqual(['d']);
});
