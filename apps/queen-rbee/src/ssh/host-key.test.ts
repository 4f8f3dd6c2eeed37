import { execFileSync } from 'node:child_process';
import { expect, it } from '@jest/globals';
import { fingerprintOf, type HostKeyFacts, knownTypes, refuseHostKey, toHostKey } from './host-key.js';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
const OTHER = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIeYTwDZLtQjBkdyQ5zHWrYdDYrPUrVdkKM7YgrFRCyH';
const nothing: HostKeyFacts = {
  node: 'bench',
  isTarget: true,
  isRegistered: false,
  host: 'bench.test',
  port: 22,
  offered: KEY,
  known: { keys: [], revoked: [] },
  pinned: undefined,
  expectedFingerprint: undefined,
  knownHostsOnly: false,
};
const known = (...keys: string[]) => ({ known: { keys, revoked: [] } });

it('has the fingerprint that ssh-keygen prints, and the form of known_hosts', () => {
  const printed = execFileSync('ssh-keygen', ['-l', '-f', '-'], { input: KEY, encoding: 'utf8' });
  expect(printed).toContain(` ${fingerprintOf(KEY)} `);
  expect(toHostKey(Buffer.from(KEY.split(' ')[1] ?? '', 'base64'))).toBe(KEY);
});

it.each<[string, Partial<HostKeyFacts>, string | undefined]>([
  ['nothing is known of', {}, undefined],
  ['nothing is known of, and ssh_config wants it known', { knownHostsOnly: true }, 'known_hosts'],
  ['that was accepted before', { pinned: KEY }, undefined],
  ['that was accepted before, and ssh_config wants it known', { pinned: KEY, knownHostsOnly: true }, undefined],
  ['that differs from the one accepted before', { pinned: OTHER }, 'pinned'],
  ['that is in known_hosts', known(OTHER, KEY), undefined],
  ['that differs from known_hosts', known(OTHER), 'known_hosts'],
  ['that differs from known_hosts, though it was accepted', { ...known(OTHER), pinned: KEY }, 'known_hosts'],
  ['that is in known_hosts and not the accepted one', { ...known(KEY), pinned: OTHER }, 'pinned'],
  ['that is revoked', { known: { keys: [KEY], revoked: [KEY] }, pinned: KEY }, 'known_hosts'],
  ['that is expected', { expectedFingerprint: fingerprintOf(KEY) }, undefined],
  ['that is expected and replaces another', { expectedFingerprint: fingerprintOf(KEY), pinned: OTHER }, undefined],
  ['that is not expected', { expectedFingerprint: fingerprintOf(OTHER), pinned: KEY }, 'given'],
  [
    'that is expected, against known_hosts',
    { expectedFingerprint: fingerprintOf(KEY), ...known(OTHER) },
    'known_hosts',
  ],
])('a host key %s', (_name, facts, source) => {
  const refused = refuseHostKey({ ...nothing, ...facts });
  expect(refused?.details.source).toBe(source);
  if (!refused) return;
  expect(refused.code).toBe('SSH_HOST_KEY_CHANGED');
  expect(refused.message).toContain(fingerprintOf(KEY));
  expect(refused.suggestion).toBeTruthy();
});

const ACCEPT = `rbee-keeper setup update-node --name bench --host-key ${fingerprintOf(KEY)}`;

it.each<[string, Partial<HostKeyFacts>, string]>([
  ['of a node whose key was pinned', { isRegistered: true, pinned: OTHER }, ACCEPT],
  [
    'of a node whose key was pinned and is in known_hosts too',
    { isRegistered: true, pinned: OTHER, ...known(OTHER) },
    `ssh-keygen -R 'bench.test', then ${ACCEPT}`,
  ],
  ['that known_hosts has otherwise', known(OTHER), "ssh-keygen -R 'bench.test', then repeat the command"],
  [
    'of a host on the way',
    { isRegistered: true, isTarget: false, pinned: OTHER },
    'rbee-keeper setup remove-node --name bench, and add it again',
  ],
  [
    'of a new node that has to be known',
    { knownHostsOnly: true },
    `known_hosts, or repeat the command with --host-key ${fingerprintOf(KEY)}`,
  ],
  ['of a node at another address', { isRegistered: true, knownHostsOnly: true }, `known_hosts, or ${ACCEPT}`],
])('a refused host key %s comes with what to type', (_name, facts, expected) => {
  const { suggestion = '' } = refuseHostKey({ ...nothing, ...facts }) ?? {};
  expect(suggestion.endsWith(expected) ? expected : suggestion).toBe(expected);
});

it('is asked for in a type that is known', () => {
  const rsa = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7';
  expect(knownTypes({ ...known(rsa, KEY, OTHER), pinned: rsa })).toEqual(['ssh-rsa', 'ssh-ed25519']);
  expect(knownTypes({ ...known(), pinned: undefined })).toEqual([]);
});
