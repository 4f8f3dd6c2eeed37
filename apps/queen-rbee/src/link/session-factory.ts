import type { Clock, Logger, Timeouts } from '@rbee/daemon-kit';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import { SshSession } from '../ssh/ssh-session.js';
import { MockSshSession } from './mock-ssh-session.js';

export interface SessionFactoryParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  /** Home folder and name of the user that this process runs as. */
  readonly home: string;
  readonly user: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Whether SSH is simulated. */
  readonly simulated: boolean;
}

/** Makes SSH sessions that are not connected yet and take exactly the given host keys. */
export function sessionFactory({ simulated, ...parts }: SessionFactoryParts) {
  return (node: string, address: SshAddress, hostKeys: HostKeys, expectedFingerprint?: string | undefined) =>
    simulated
      ? new MockSshSession({ address, ...parts })
      : new SshSession({ ...parts, node, address, hostKeys: () => hostKeys, expectedFingerprint });
}
