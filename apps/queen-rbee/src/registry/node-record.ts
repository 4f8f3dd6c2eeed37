import type { Backend, NodeStatus } from '@rbee/protocol';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';

/** A hive that this registry's queen started, so that a restarted queen still knows that it is hers. */
export interface OwnedHive {
  readonly pid: number;
  readonly startTime: string;
}

/** One registered node. */
export interface NodeRecord {
  readonly name: string;
  readonly ssh: SshAddress | undefined;
  readonly direct: { readonly url: string; readonly tokenFile: string } | undefined;
  readonly hostKeys: HostKeys;
  readonly gitRepoUrl: string | undefined;
  readonly gitBranch: string;
  /** Absolute path on the node. */
  readonly installPath: string;
  /** Absolute path of Node.js on the node, once it is known. */
  readonly nodePath: string | undefined;
  readonly hivePort: number;
  readonly backends: readonly Backend[];
  readonly devices: Readonly<Partial<Record<Backend, number>>>;
  readonly status: NodeStatus;
  /** Seconds since the epoch. */
  readonly lastConnectedUnix: number | undefined;
  readonly lastError: string | undefined;
  readonly ownedHive: OwnedHive | undefined;
}
