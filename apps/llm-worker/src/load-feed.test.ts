import { describe, expect, it } from '@jest/globals';
import type { LoadProgress } from '@rbee/protocol';
import { LoadFeed } from './load-feed.js';

const layers = (layers_loaded: number): LoadProgress => ({
  stage: 'loading_to_vram',
  layers_loaded,
  layers_total: 8,
  vram_mb: 0,
});
const never = new AbortController().signal;

async function collect(feed: LoadFeed, signal = never): Promise<LoadProgress[]> {
  const seen: LoadProgress[] = [];
  for await (const progress of feed.follow(signal)) seen.push(progress);
  return seen;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('LoadFeed', () => {
  it('shows a follower each step and ends after the last', async () => {
    const feed = new LoadFeed();
    const seen = collect(feed);
    for (const step of [layers(0), layers(4), layers(8), { stage: 'ready' } as const]) {
      await turn();
      feed.set(step);
    }
    expect(await seen).toEqual([layers(0), layers(4), layers(8), { stage: 'ready' }]);
  });

  it('gives a late follower the present step first, and one that comes after the end only the end', async () => {
    const feed = new LoadFeed();
    feed.set(layers(5));
    const seen = collect(feed);
    await turn();
    const failure: LoadProgress = { stage: 'error', code: 'MODEL_LOAD_FAILED', message: 'no' };
    feed.set(failure);
    expect(await seen).toEqual([layers(5), failure]);
    expect(await collect(feed)).toEqual([failure]);
  });

  it('keeps only the newest step for a follower that is slow', async () => {
    const feed = new LoadFeed();
    const follower = feed.follow(never);
    feed.set(layers(0));
    expect((await follower.next()).value).toEqual(layers(0));
    for (let step = 1; step <= 8; step++) feed.set(layers(step));
    expect((await follower.next()).value).toEqual(layers(8));
    await follower.return();
  });

  it('lets a follower go that gives up', async () => {
    const abort = new AbortController();
    const seen = collect(new LoadFeed(), abort.signal);
    await turn();
    abort.abort(new Error('gone'));
    await expect(seen).rejects.toThrow('gone');
  });
});
