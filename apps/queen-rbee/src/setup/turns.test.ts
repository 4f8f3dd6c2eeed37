import { expect, it } from '@jest/globals';
import { Turns } from './turns.js';

/** An operation that a test ends. */
function held<T>(): { promise: Promise<T>; end: (value: T) => void; fail: (error: Error) => void } {
  let end: (value: T) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  return { promise, end, fail };
}

it('lets one follow the other on a name, whatever became of the one before, and holds up no other name', async () => {
  const turns = new Turns();
  const begun: string[] = [];
  const begin = <T>(name: string, result: Promise<T>) => {
    begun.push(name);
    return result;
  };
  const first = held<number>();
  const one = turns.take('a', () => begin('a1', first.promise));
  const two = turns.take('a', () => begin('a2', Promise.resolve(2)));
  await expect(turns.take('b', () => begin('b1', Promise.resolve(3)))).resolves.toBe(3);
  expect(begun).toEqual(['a1', 'b1']);
  first.fail(new Error('broken'));
  await expect(one).rejects.toThrow('broken');
  await expect(two).resolves.toBe(2);
});

it('lets a waiter give up without letting the next one pass the one that runs', async () => {
  const turns = new Turns();
  const first = held<number>();
  const one = turns.take('a', () => first.promise);
  const abort = new AbortController();
  let ran = false;
  const two = turns.take(
    'a',
    async () => {
      ran = true;
    },
    abort.signal,
  );
  let threeBegan = false;
  const three = turns.take('a', async () => {
    threeBegan = true;
  });
  abort.abort(new Error('gone'));
  await expect(two).rejects.toThrow('gone');
  await new Promise((resolve) => setImmediate(resolve));
  expect([ran, threeBegan]).toEqual([false, false]);
  first.end(1);
  await Promise.all([one, three]);
  expect([ran, threeBegan]).toEqual([false, true]);
});
