import type { Narrate, Target } from '@rbee/daemon-kit';
import type { hiveRoutes, JsonOf } from '@rbee/protocol';

export type HiveHealth = JsonOf<typeof hiveRoutes.health>;

/** The way to one node. Everything above it is the same for every kind of link. */
export interface Link {
  /** Name of the node. */
  readonly node: string;
  /** The node's hive. */
  readonly hive: Target;
  /** A worker by its URL, which is the node's own view of it. */
  workerAt(url: string): Target;
  /** The health of a hive that answers now; `undefined` when nothing listens. Throws when something else answers, or too late. */
  findHive(signal?: AbortSignal): Promise<HiveHealth | undefined>;
  /** Starts a hive where none answers, and owns it from then on. Throws HIVE_START_FAILED. */
  startHive(narrate: Narrate): Promise<HiveHealth>;
  /** Ends the hive if this link started it, and takes no further start; any other hive stays. */
  releaseHive(narrate: Narrate): Promise<void>;
  /** Closes idle connections. */
  close(): void;
}
