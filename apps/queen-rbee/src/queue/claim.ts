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

/** More different claims are not kept. */
const MOST_CLAIMS = 1_024;

/** Makes one object of all claims that are the same, so that many tasks are compared quickly. */
export class Claims {
  readonly #byKey = new Map<string, Claim>();

  of(wanted: Wanted): Claim {
    const claim = toClaim(wanted);
    const known = this.#byKey.get(claim.key);
    if (known) return known;
    // Those that are kept still then are the same as new ones, only not as quickly compared.
    if (this.#byKey.size >= MOST_CLAIMS) this.#byKey.clear();
    this.#byKey.set(claim.key, claim);
    return claim;
  }

  clear(): void {
    this.#byKey.clear();
  }
}

interface Counted {
  readonly claim: Claim;
  count: number;
}

/** Counts tasks by their claims, and says how many of those counted stand in the way of another one. */
export class ClaimTally {
  readonly #counts = new Map<string, Counted[]>();

  add(claim: Claim): void {
    const same = this.#counts.get(claim.resource);
    const counted = same?.find((each) => each.claim === claim || each.claim.key === claim.key);
    if (counted) counted.count++;
    else if (same) same.push({ claim, count: 1 });
    else this.#counts.set(claim.resource, [{ claim, count: 1 }]);
  }

  rivalsOf({ resource, node, device }: Claim): number {
    let sum = 0;
    for (const { claim, count } of this.#counts.get(resource) ?? []) {
      if (overlap(claim.node, node) && overlap(claim.device, device)) sum += count;
    }
    return sum;
  }
}

function overlap<T>(one: T | undefined, other: T | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}
