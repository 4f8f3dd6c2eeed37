/** A worker that may be ended for the sake of another. */
export interface Evictable {
  readonly id: string;
  /** Since when nothing runs on it, in milliseconds since the epoch. */
  readonly idleSince: number;
}

/**
 * Which idle workers are ended so that another one fits: those that were used least recently, and no more than it takes; of those
 * that turn out not to be needed, the most recently used are spared first. `undefined` when it would not fit even without all
 * of them; none is ended then. `fits` says whether it fits once these have gone, and must not come to no when more go.
 */
export function chooseEvictions<W extends Evictable>(
  idle: readonly W[],
  fits: (gone: readonly W[]) => boolean,
): readonly W[] | undefined {
  const oldestFirst = [...idle].sort((a, b) => a.idleSince - b.idleSince || (a.id < b.id ? -1 : 1));
  const count = [...oldestFirst.keys(), oldestFirst.length].find((taken) => fits(oldestFirst.slice(0, taken)));
  if (count === undefined) return undefined;
  const enough = oldestFirst.slice(0, count);
  return enough.reduceRight<readonly W[]>((needed, worker) => {
    const others = needed.filter((other) => other !== worker);
    return fits(others) ? others : needed;
  }, enough);
}
