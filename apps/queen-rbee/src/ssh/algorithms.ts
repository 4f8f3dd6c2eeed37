import { RbeeError } from '@rbee/protocol';
import type { Algorithms, CipherAlgorithm, KexAlgorithm, MacAlgorithm, ServerHostKeyAlgorithm } from 'ssh2';
import type { AllowedAlgorithms } from './ssh-config.js';

const KEX: readonly KexAlgorithm[] = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
  'diffie-hellman-group-exchange-sha256',
  'diffie-hellman-group14-sha256',
  'diffie-hellman-group16-sha512',
  'diffie-hellman-group18-sha512',
];

/** The fastest first: OpenSSL does AES-GCM in one go, while ChaCha20 with Poly1305 is put together in JavaScript. */
const CIPHERS: readonly CipherAlgorithm[] = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'chacha20-poly1305@openssh.com',
];

const MACS: readonly MacAlgorithm[] = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
  'hmac-sha2-256',
  'hmac-sha2-512',
  'hmac-sha1-etm@openssh.com',
  'hmac-sha1',
];

const HOST_KEYS: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'ssh-rsa',
];

/**
 * What is offered in the handshake: what can be done here and is allowed. Types of host keys that are known come first,
 * because a server with several keys would else show one that nothing can be compared with; skipped types are not
 * asked for at all. Throws UNSUPPORTED_FIELD where nothing allowed can be done here.
 */
export function chooseAlgorithms(
  allowed: AllowedAlgorithms,
  knownTypes: readonly string[],
  skippedTypes: readonly string[],
): Algorithms {
  const typeOf = (name: string) => (name.startsWith('rsa-') ? 'ssh-rsa' : name);
  const isKnown = (name: string) => knownTypes.includes(typeOf(name));
  const notSkipped = HOST_KEYS.filter((name) => !skippedTypes.includes(typeOf(name)));
  const hostKeys = only(notSkipped, allowed.serverHostKey, 'HostKeyAlgorithms');
  return {
    kex: only(KEX, allowed.kex, 'KexAlgorithms'),
    cipher: only(CIPHERS, allowed.cipher, 'Ciphers'),
    hmac: only(MACS, allowed.hmac, 'MACs'),
    serverHostKey: [...hostKeys.filter(isKnown), ...hostKeys.filter((name) => !isKnown(name))],
  };
}

function only<T extends string>(supported: readonly T[], allowed: readonly string[] | undefined, keyword: string): T[] {
  const list = supported.filter((name) => allowed === undefined || allowed.includes(name));
  if (list.length > 0) return list;
  throw new RbeeError('UNSUPPORTED_FIELD', `ssh_config sets ${keyword} to what rbee cannot do: ${allowed?.join(',')}`, {
    details: { field: 'ssh_config', keyword, value: allowed?.join(',') },
    suggestion: `allow one of these: ${supported.join(',')}`,
  });
}
