/** Where a queen is, and whether this machine could start one there. */
export interface QueenAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Whether the address is one of this machine's own. */
  readonly isLocal: boolean;
}

/** Takes an address such as `http://127.0.0.1:8080` apart. */
export function toQueenAddress(url: string): QueenAddress {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return {
    url,
    host,
    port: Number(port || 80),
    isLocal: host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host),
  };
}
