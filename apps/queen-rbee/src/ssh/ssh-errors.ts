import { formatDuration } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { Destination } from './ssh-config.js';

/** Where a connection was to lead, for messages. */
export type Peer = Pick<Destination, 'host' | 'port'>;

const WHY: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'its network cannot be reached',
  EHOSTDOWN: 'it is down',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up now',
  ETIMEDOUT: 'timed out',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed',
  NO_HANDSHAKE: 'it did not speak SSH',
  CLOSED: 'the other side closed it',
};

/** In a few words why a connection was not made, for example for a narration. */
export function whyNot(error: RbeeError): string {
  return WHY[String(error.details.cause)] ?? error.message;
}

const isAboutSilence = (cause: string) =>
  cause === 'ETIMEDOUT' || cause.startsWith('EHOST') || cause.startsWith('ENET');

function adviceFor({ host, port }: Peer, cause: string): string {
  if (cause === 'ENOTFOUND' || cause === 'EAI_AGAIN') return `check the host name: getent hosts ${host}`;
  if (isAboutSilence(cause)) return `check that the machine is on and can be reached: ping ${host}`;
  return `check that sshd runs there and listens on port ${port}: ping ${host}, then ssh -p ${port} ${host}`;
}

/** No connection came about. */
export function notConnected(peer: Peer, cause: string, timeoutMs: number, error?: unknown): RbeeError {
  const why = cause === 'ETIMEDOUT' ? `timed out after ${formatDuration(timeoutMs)}` : (WHY[cause] ?? cause);
  return new RbeeError('SSH_CONNECTION_TIMEOUT', `no SSH connection to ${peer.host} on port ${peer.port}: ${why}`, {
    details: { host: peer.host, port: peer.port, cause, timeout_ms: timeoutMs },
    suggestion: adviceFor(peer, cause),
    ...(error === undefined ? {} : { cause: error }),
  });
}

/** The same failure once every attempt was made. */
export function afterAttempts(error: RbeeError, attempts: number): RbeeError {
  const { host, port } = error.details;
  const tries = attempts === 1 ? '1 attempt' : `${attempts} attempts`;
  const why = error.details.cause === 'ETIMEDOUT' ? 'timeout' : whyNot(error);
  return new RbeeError('SSH_CONNECTION_TIMEOUT', `no SSH connection to ${host}:${port} after ${tries} (${why})`, {
    details: { ...error.details, attempts },
    cause: error.cause,
    ...(error.suggestion === undefined ? {} : { suggestion: error.suggestion }),
  });
}

/** A connection that stood has broken. */
export function brokeOff(node: string, peer: Peer, cause: string, silentMs?: number): RbeeError {
  const why = silentMs === undefined ? (WHY[cause] ?? cause) : `no sign of life for ${formatDuration(silentMs)}`;
  return new RbeeError('SSH_CONNECTION_TIMEOUT', `the SSH connection to ${node} broke off: ${why}`, {
    details: { node, host: peer.host, port: peer.port, cause },
    suggestion: `check that the machine is on and can be reached: ping ${peer.host}`,
  });
}

/** No key was accepted. */
export function notLetIn(destination: Destination, tried: readonly string[], notes: readonly string[]): RbeeError {
  const { host, port, user, namedKey } = destination;
  const keys = tried.length > 0 ? `none of these keys is accepted: ${tried.join(', ')}` : 'there is no key to try';
  const more = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return new RbeeError(
    'SSH_AUTH_FAILED',
    `${host} does not let in the user ${user}: permission denied, ${keys}${more}`,
    {
      details: { host, port, user, keys_tried: tried, ...(notes.length > 0 ? { keys_left_out: notes } : {}) },
      suggestion: [
        namedKey
          ? `check the key (chmod 600 ${namedKey}), the agent (ssh-add -l) and the user name`
          : 'name a key with --ssh-key or lend one to the agent (ssh-add), and check the user name',
        `then try: ssh ${namedKey ? `-i ${namedKey} ` : ''}-p ${port} ${user}@${host}`,
      ].join(', '),
    },
  );
}

/** The server forwards no connections. */
export function forwardingDenied(peer: Peer, error?: unknown): RbeeError {
  return new RbeeError('SSH_FORWARDING_DENIED', `sshd on ${peer.host} does not allow port forwarding`, {
    details: { host: peer.host, port: peer.port, setting: 'AllowTcpForwarding' },
    suggestion:
      'set AllowTcpForwarding yes (or local) in its /etc/ssh/sshd_config, for this user at least, and reload sshd',
    ...(error === undefined ? {} : { cause: error }),
  });
}

/** The server lets in, but runs nothing. */
export function noSession({ host, port }: Peer, error: unknown): RbeeError {
  return new RbeeError('SSH_COMMAND_FAILED', `sshd on ${host} opens no session: ${(error as Error).message}`, {
    details: { host, port, setting: 'MaxSessions' },
    suggestion: 'look at MaxSessions in its /etc/ssh/sshd_config (rbee uses up to 6 at once), and at its log',
    cause: error,
  });
}

/** What went wrong before a connection stood, as an rbee error. */
export function toConnectError(destination: Destination, timeoutMs: number, error: unknown): RbeeError {
  if (isRbeeError(error)) return error;
  const { code, level, message } = error as NodeJS.ErrnoException & { level?: string };
  if (typeof code === 'string') return notConnected(destination, code, timeoutMs, error);
  if (/^Connection lost before handshake/.test(message)) {
    return notConnected(destination, 'NO_HANDSHAKE', timeoutMs, error);
  }
  const { host, port } = destination;
  // Both sides share no algorithm, or one does not keep to the protocol: another attempt would end the same way.
  return new RbeeError('SSH_CONNECTION_TIMEOUT', `no SSH connection to ${host} on port ${port}: ${message}`, {
    details: { host, port, cause: level ?? 'protocol', timeout_ms: timeoutMs },
    suggestion: `look at what ssh says: ssh -v -p ${port} ${host}`,
    retryable: false,
    cause: error,
  });
}
