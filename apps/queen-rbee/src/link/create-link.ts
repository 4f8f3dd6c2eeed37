import { type Clock, type Logger, readSecretFile, type Secret, type Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { NodeRecord, OwnedHive } from '../registry/node-record.js';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import { DirectLink } from './direct-link.js';
import type { Link } from './link.js';
import { LOCAL_KEY_ADVICE } from './local-hive-key.js';
import { MockSshLink } from './mock-ssh-link.js';
import type { RemoteSession } from './remote-session.js';
import { SshLink } from './ssh-link.js';

export interface LinkParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Makes a session that is not connected yet and takes exactly these host keys. */
  readonly createSession: (node: string, address: SshAddress, hostKeys: HostKeys) => RemoteSession;
  /** Told when this queen has started the hive of a node, and when that is no longer hers or has ended. */
  readonly onOwned: (node: string, owned: OwnedHive | undefined) => void;
  /** Program on the nodes that is used in place of the one in their install path. */
  readonly binaryPath: string | undefined;
  /** Hive that stands in for that of each node reached over SSH, while SSH is simulated; left out: nothing is. */
  readonly mockHive?: { readonly url: string; readonly readKey: () => Secret | undefined } | undefined;
}

/** The link to a registered node, as its record says; nothing is connected yet. */
export function createLink(record: NodeRecord, parts: LinkParts): Link {
  const { name: node, ssh, direct } = record;
  if (direct) {
    const readKey = () => readSecretFile(direct.tokenFile);
    return new DirectLink({ ...parts, node, url: direct.url, readKey });
  }
  if (!ssh) {
    throw new RbeeError('REGISTRY_ERROR', `the node ${node} is registered without an address`, {
      details: { node },
      suggestion: `remove it and add it again: rbee-keeper setup remove-node --name ${node}`,
    });
  }
  const session = parts.createSession(node, ssh, record.hostKeys);
  const { mockHive } = parts;
  if (mockHive) {
    return new MockSshLink({ ...parts, ...mockHive, node, keyAdvice: LOCAL_KEY_ADVICE, session });
  }
  const { clock, log, timeouts, binaryPath } = parts;
  return new SshLink({
    ...{ node, session, clock, log, timeouts, binaryPath },
    hivePort: record.hivePort,
    installPath: record.installPath,
    nodePath: record.nodePath,
    initialOwned: record.ownedHive,
    onOwned: (owned) => parts.onOwned(node, owned),
  });
}
