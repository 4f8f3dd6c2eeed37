import type { Backend, NodeStatus } from '@rbee/protocol';

/** How a node is reached over SSH. */
export interface SshAddress {
  /** Host name, address, or name of a host in ssh_config, as the user gave it. */
  readonly host: string;
  /** `undefined`: what ssh_config says, else 22. */
  readonly port: number | undefined;
  /** `undefined`: what ssh_config says, else the user that the queen runs as. */
  readonly user: string | undefined;
  /** Private key file; `undefined`: what ssh_config says, the agent, and the usual files. */
  readonly keyPath: string | undefined;
}

/** Host keys by `[host]:port`, each as `<type> <base64>`: of the node and of the hosts it is reached through. */
export type HostKeys = Readonly<Record<string, string>>;

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
