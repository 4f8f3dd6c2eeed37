import type { Clock } from '@rbee/daemon-kit/client';

const CHECK_MS = 15_000;

/**
 * Looks after a task of which nothing new is heard. `count` tells how many events were handled, and `isExcused` whether nothing can be
 * expected now. `onStandstill` is told how long it has lasted, once that is `limitMs`; time in which this process itself was stopped
 * does not count. Returns how to end the watch.
 */
export function watchStandstill(
  clock: Clock,
  limitMs: number,
  task: { readonly count: () => number; readonly isExcused: () => boolean },
  onStandstill: (ms: number) => void,
): () => void {
  let last = task.count();
  let stillMs = 0;
  return clock.every(CHECK_MS, () => {
    const count = task.count();
    stillMs = count === last && !task.isExcused() ? stillMs + CHECK_MS : 0;
    last = count;
    if (stillMs >= limitMs) onStandstill(stillMs);
  });
}
