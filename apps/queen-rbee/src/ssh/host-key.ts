import { createHash } from 'node:crypto';
import { RbeeError } from '@rbee/protocol';
import type { KnownKeys } from './known-hosts.js';

/** Host keys by `[host]:port`, each as `<type> <base64>`: of a machine and of the hosts that it is reached through. */
export type HostKeys = Readonly<Record<string, string>>;

/** Everything that a host key is held against. Keys are `<type> <base64>`. */
export interface HostKeyFacts {
  /** Node that the connection is for; the host is that node, or one on the way to it. */
  readonly node: string;
  readonly isTarget: boolean;
  /** Whether keys of the node, or of hosts on the way to it, were accepted before. */
  readonly isRegistered: boolean;
  readonly host: string;
  readonly port: number;
  readonly offered: string;
  readonly known: KnownKeys;
  /** Key that was accepted before. */
  readonly pinned: string | undefined;
  /** Fingerprint that the user named. */
  readonly expectedFingerprint: string | undefined;
  /** Whether a host that nothing is known of is refused. */
  readonly knownHostsOnly: boolean;
}

/** A key as `<type> <base64>`, from the form that it has on the wire. */
export function toHostKey(blob: Buffer): string {
  const length = blob.readUInt32BE(0);
  return `${blob.toString('latin1', 4, 4 + length)} ${blob.toString('base64')}`;
}

/** Fingerprint of a key in the form `<type> <base64>`, as `ssh-keygen -l` prints it. */
export function fingerprintOf(hostKey: string): string {
  const blob = Buffer.from(hostKey.split(' ')[1] ?? '', 'base64');
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** Types of keys that are known of a host; a server with several keys is asked for one of these. */
export function knownTypes({ known, pinned }: Pick<HostKeyFacts, 'known' | 'pinned'>): string[] {
  const keys = pinned === undefined ? known.keys : [pinned, ...known.keys];
  return [...new Set(keys.map((key) => key.split(' ')[0] ?? ''))];
}

/**
 * Why a host key is not accepted, or `undefined` when it is: known_hosts and the key that was accepted before must both
 * agree with it, and a key of a host that nothing is known of is accepted only where strangers are.
 */
export function refuseHostKey(facts: HostKeyFacts): RbeeError | undefined {
  const { host, port, offered, known, pinned, expectedFingerprint } = facts;
  const found = fingerprintOf(offered);
  const refuse = (message: string, details: Record<string, unknown>, suggestion: string) =>
    new RbeeError('SSH_HOST_KEY_CHANGED', message, {
      details: { host, port, offered_fingerprint: found, key_type: offered.split(' ')[0], ...details },
      suggestion,
    });
  const name = port === 22 ? host : `[${host}]:${port}`;
  if (known.revoked.includes(offered)) {
    return refuse(
      `the host key of ${host} is revoked in known_hosts: ${found}`,
      { source: 'known_hosts', reason: 'revoked' },
      'the machine needs another host key; until then it may be an impostor',
    );
  }
  if (known.keys.length > 0 && !known.keys.includes(offered)) {
    const expected = known.keys.map(fingerprintOf).join(', ');
    return refuse(
      `the host key of ${host} changed: it shows ${found}, known_hosts has ${expected}`,
      { expected_fingerprint: expected, source: 'known_hosts' },
      `if the machine was set up anew: ssh-keygen -R '${name}', then ${pinned === undefined || pinned === offered ? 'repeat the command' : howToAccept(facts, found)}`,
    );
  }
  // A fingerprint that the user names now stands above the key that was accepted before.
  if (expectedFingerprint !== undefined) {
    if (expectedFingerprint === found) return undefined;
    return refuse(
      `${host} shows another host key than the expected one: it shows ${found}, expected was ${expectedFingerprint}`,
      { expected_fingerprint: expectedFingerprint, source: 'given' },
      'compare with what ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub prints on that machine',
    );
  }
  if (pinned !== undefined && pinned !== offered) {
    const expected = fingerprintOf(pinned);
    return refuse(
      `the host key of ${host} changed: it shows ${found}, expected was ${expected}`,
      { expected_fingerprint: expected, source: 'pinned' },
      `find out why; if the machine was set up anew: ${howToAccept(facts, found)}`,
    );
  }
  if (pinned === undefined && known.keys.length === 0 && facts.knownHostsOnly) {
    return refuse(
      `the host key of ${host} is not known: ${found}`,
      { source: 'known_hosts', reason: 'unknown' },
      `if the fingerprint is right: ssh-keyscan -p ${port} ${host} >> ~/.ssh/known_hosts${facts.isTarget ? `, or ${howToAccept(facts, found)}` : ''}`,
    );
  }
  return undefined;
}

/** What the user types to accept a key. The flag is about the node itself: hosts on the way are met anew. */
function howToAccept({ node, isTarget, isRegistered }: HostKeyFacts, fingerprint: string): string {
  if (!isTarget) return `rbee-keeper setup remove-node --name ${node}, and add it again`;
  if (!isRegistered) return `repeat the command with --host-key ${fingerprint}`;
  return `rbee-keeper setup update-node --name ${node} --host-key ${fingerprint}`;
}
