import type { Narrate, Target } from '@rbee/daemon-kit';
import type { hiveRoutes, JsonOf, LinkKind, RbeeError } from '@rbee/protocol';

export type HiveHealth = JsonOf<typeof hiveRoutes.health>;

/** The way to one node. Everything above it is the same for every kind of link. */
export interface Link {
  readonly kind: LinkKind;
  /** Name of the node. */
  readonly node: string;
  /** The node's hive. */
  readonly hive: Target;
  /** Whether this queen started the hive that runs now, and so has to end it. */
  readonly ownsHive: boolean;
  /** A worker by its URL, which is the node's own view of it. */
  workerAt(url: string): Target;
  /**
   * Opens the way to the machine, in a few attempts of which each is told; nothing to do where it stands, or where the
   * link has no connection of its own. Callers share one attempt. Throws SSH_*.
   */
  reach(narrate: Narrate, signal?: AbortSignal): Promise<void>;
  /** Told each time the way to the machine breaks, which also broke every stream on it. Returns how to stop listening. */
  onLost(listener: (reason: RbeeError) => void): () => void;
  /** The health of a hive that answers now; `undefined` when nothing listens. Throws when something else answers, too late, or the machine cannot be reached. */
  findHive(signal?: AbortSignal): Promise<HiveHealth | undefined>;
  /** Starts a hive where none answers, and owns it from then on. Throws HIVE_NOT_INSTALLED, HIVE_START_FAILED, SSH_*, and CONNECTION_TIMEOUT where the link cannot start one. */
  startHive(narrate: Narrate): Promise<HiveHealth>;
  /** Ends the hive if this link started it and it still runs; any other hive stays. Resolves with whether one was ended. */
  stopHive(narrate: Narrate): Promise<boolean>;
  /** Breaks every stream to the machine, so that nobody waits on one that is dead, and starts afresh. */
  reset(): void;
  /** Takes no further start, ends a start that is under way, and closes every connection. */
  close(): Promise<void>;
}
