import { isIPv4 } from 'node:net';

/** Whether only this machine reaches what listens on an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/**
 * Where something that listens on an address is reached from this machine. What listens on every address is named by
 * the loopback one: from another machine it is reached at whichever address that machine knows this one by.
 */
export function toUrl(host: string, port: number): string {
  const reached = host === '0.0.0.0' || host === 'localhost' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}
