/**
 * Where something that listens on an address is reached from this machine. What listens on every address is named by
 * the loopback one: from another machine it is reached at whichever address that machine knows this one by.
 */
export function toUrl(host: string, port: number): string {
  const reached = host === '0.0.0.0' || host === 'localhost' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
}
