import {
  type AddNode,
  DEFAULT_HIVE_PORT,
  DEFAULT_INSTALL_PATH,
  RbeeError,
  SSH_FIELDS,
  type UpdateNode,
} from '@rbee/protocol';
import type { NodeRecord } from '../registry/node-record.js';
import { ownPort, withoutOwnHostKey } from '../registry/own-host-key.js';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import type { Capabilities } from './capabilities.js';

const DEFAULT_BRANCH = 'main';

/** How a node is reached: one of the two. */
type Way =
  | { readonly ssh: SshAddress; readonly direct: undefined }
  | { readonly ssh: undefined; readonly direct: DirectAddress };

export type DirectAddress = NonNullable<NodeRecord['direct']>;

/** A node as the user wants it, before it was looked at. */
export interface NodeDraft {
  readonly name: string;
  readonly way: Way;
  /** Keys that the hosts have to show; one that is not named here is accepted. */
  readonly hostKeys: HostKeys;
  /** Fingerprint that the node's own key must have. */
  readonly expectedFingerprint: string | undefined;
  readonly gitRepoUrl: string | undefined;
  readonly gitBranch: string;
  /** May begin with `~`. */
  readonly installPath: string;
  /** May begin with `~/`. Given by the user: the only Node.js that counts. */
  readonly nodePath: string | undefined;
  /** Where Node.js was found before; looked at first. */
  readonly knownNodePath: string | undefined;
  readonly hivePort: number;
  readonly capabilities: Partial<Capabilities>;
  /** Whether it is another machine, or another hive, than the one that is registered. */
  readonly moved: boolean;
}

export function draftOfAddition(request: AddNode): NodeDraft {
  const way = wayOf(request, undefined, undefined);
  return {
    name: request.node_name,
    way,
    hostKeys: {},
    expectedFingerprint: request.host_key_fingerprint,
    gitRepoUrl: request.git_repo_url,
    gitBranch: request.git_branch ?? DEFAULT_BRANCH,
    installPath: request.install_path ?? DEFAULT_INSTALL_PATH,
    nodePath: request.node_path,
    knownNodePath: undefined,
    hivePort: way.direct ? portOf(way.direct.url) : (request.hive_port ?? DEFAULT_HIVE_PORT),
    capabilities: { backends: request.backends, devices: request.devices },
    moved: true,
  };
}

/**
 * The node with the changes of a request. A request that names the other way to a node changes to it. Throws
 * INVALID_REQUEST when something that the way needs is missing, or does not belong to it.
 */
export function draftOfChange(record: NodeRecord, request: UpdateNode): NodeDraft {
  const knownSsh = request.hive_url === undefined ? record.ssh : undefined;
  const knownDirect = request.ssh_host === undefined ? record.direct : undefined;
  const way = wayOf(request, knownSsh, knownDirect);
  const { ssh, direct } = way;
  refuseFieldsOfOtherWay(record.name, request, ssh !== undefined);
  // Naming the port that is used anyway must not let go of the pinned key.
  const knownPort = record.ssh?.port ?? ownPort(record.hostKeys);
  const otherPort = ssh?.port !== record.ssh?.port && ssh?.port !== knownPort;
  const moved = ssh?.host !== record.ssh?.host || otherPort || direct?.url !== record.direct?.url;
  const sameUser = !moved && ssh?.user === record.ssh?.user;
  const pinned = moved ? {} : record.hostKeys;
  return {
    name: record.name,
    way,
    hostKeys: request.host_key_fingerprint === undefined ? pinned : withoutOwnHostKey(pinned),
    expectedFingerprint: request.host_key_fingerprint,
    gitRepoUrl: request.git_repo_url ?? record.gitRepoUrl,
    gitBranch: request.git_branch ?? record.gitBranch,
    installPath: request.install_path ?? record.installPath,
    nodePath: request.node_path,
    knownNodePath: sameUser ? record.nodePath : undefined,
    hivePort: direct
      ? portOf(direct.url)
      : (request.hive_port ?? (record.direct ? DEFAULT_HIVE_PORT : record.hivePort)),
    capabilities: {
      backends: request.backends ?? (moved || request.devices ? undefined : record.backends),
      devices: request.devices ?? (moved || request.backends ? undefined : record.devices),
    },
    moved,
  };
}

/** What the request says, completed by what is known. Throws INVALID_REQUEST when neither way is complete. */
function wayOf(request: UpdateNode, ssh: SshAddress | undefined, direct: DirectAddress | undefined): Way {
  const host = request.ssh_host ?? ssh?.host;
  if (host !== undefined) {
    const port = request.ssh_port ?? ssh?.port;
    const user = request.ssh_user ?? ssh?.user;
    return { ssh: { host, port, user, keyPath: request.ssh_key_path ?? ssh?.keyPath }, direct: undefined };
  }
  const url = request.hive_url ?? direct?.url;
  if (url === undefined) throw invalidField('ssh_host', 'is required');
  const tokenFile = request.hive_token_file ?? direct?.tokenFile;
  if (tokenFile !== undefined) return { ssh: undefined, direct: { url, tokenFile } };
  throw invalidField('hive_token_file', 'is required with hive_url: a hive on the network has a key');
}

const DIRECT_FIELDS = ['hive_token_file'] as const;

/** A change that could have no effect is a mistake that the user has to hear of. */
function refuseFieldsOfOtherWay(name: string, request: UpdateNode, isSsh: boolean): void {
  const stray = (isSsh ? DIRECT_FIELDS : SSH_FIELDS).find((field) => request[field] !== undefined);
  if (stray === undefined) return;
  const way = isSsh ? 'over SSH' : 'at the address of its hive';
  throw invalidField(stray, `does not apply: ${name} is reached ${way}`);
}

function invalidField(field: string, message: string): RbeeError {
  return new RbeeError('INVALID_REQUEST', `the body is not valid: ${field}: ${message}`, {
    details: { errors: [{ field, constraint: 'custom', message }] },
  });
}

function portOf(url: string): number {
  return Number(new URL(url).port || 80);
}
