import { modelKey } from '../placement/same-model.js';
import type { Wanted } from '../placement/snapshot.js';

/** What a task lays claim to while it waits: two tasks stand in each other's way when one worker could serve both. */
export interface Claim {
  /** One text for all tasks that want exactly the same, so that they are looked at together. */
  readonly key: string;
  /** Model and backend: workers that run them are what the task competes for. */
  readonly resource: string;
  readonly node: string | undefined;
  readonly device: number | undefined;
}

export function toClaim(wanted: Wanted): Claim {
  const { node, model, backend, device, digest, excluded, excludedNodes } = wanted;
  const resource = `${backend} ${modelKey(model)}`;
  const workers = [...(excluded ?? [])].sort();
  const nodes = [...(excludedNodes?.keys() ?? [])].sort();
  return { key: JSON.stringify([resource, model, node, device, digest, workers, nodes]), resource, node, device };
}

/** Counts tasks by their claims, and says how many of those counted stand in the way of another one. */
export class ClaimTally {
  readonly #counts = new Map<string, Map<string, { readonly claim: Claim; count: number }>>();

  add(claim: Claim): void {
    let same = this.#counts.get(claim.resource);
    if (!same) {
      same = new Map();
      this.#counts.set(claim.resource, same);
    }
    const counted = same.get(claim.key);
    if (counted) counted.count++;
    else same.set(claim.key, { claim, count: 1 });
  }

  rivalsOf({ resource, node, device }: Claim): number {
    let sum = 0;
    for (const { claim, count } of this.#counts.get(resource)?.values() ?? []) {
      if (overlap(claim.node, node) && overlap(claim.device, device)) sum += count;
    }
    return sum;
  }
}

function overlap<T>(one: T | undefined, other: T | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}
