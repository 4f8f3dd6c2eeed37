import { orAborted } from '@rbee/daemon-kit';

/** The same items until the signal is aborted; then its reason is thrown, also while the next item does not come. */
export async function* untilAborted<T>(
  items: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const iterator = items[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal);
      if (next.done) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // Not awaited: an item that never comes would be waited for.
    if (!ended) iterator.return?.().then(undefined, () => undefined);
  }
}
