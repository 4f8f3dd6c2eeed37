import { expect, it } from '@jest/globals';
import { HeldFrames } from './held-frames.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

it('writes frames after what was scheduled meanwhile has begun', async () => {
  const order: string[] = [];
  const frames = new HeldFrames((text) => order.push(text) > 0);
  frames.push('a');
  setImmediate(() => order.push('next step'));
  expect(order).toEqual([]);
  await turn();
  await turn();
  expect(order).toEqual(['next step', 'a']);
});

it('writes what is held before something else follows it, and only once', async () => {
  const written: string[] = [];
  const frames = new HeldFrames((text) => written.push(text) > 0);
  frames.push('a');
  frames.push('b');
  frames.flush();
  frames.push('c');
  frames.flush();
  frames.flush();
  await turn();
  await turn();
  expect(written).toEqual(['ab', 'c']);
});

it('keeps a frame while the reader is behind', async () => {
  const written: string[] = [];
  let takes = false;
  const frames = new HeldFrames((text) => {
    written.push(text);
    return takes;
  });
  frames.push('a');
  expect(frames.behind).toBe(false);
  frames.flush();
  expect(frames.behind).toBe(true);
  frames.push('b');
  await turn();
  await turn();
  expect(written).toEqual(['a']);
  takes = true;
  frames.drained();
  expect(written).toEqual(['a', 'b']);
  expect(frames.behind).toBe(false);
});
