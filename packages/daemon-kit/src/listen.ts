import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { RbeeError } from '@rbee/protocol';

/** A bound HTTP server. */
export interface Listening {
  readonly server: Server;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
  /** Takes no new connections, ends idle ones at once and the others after their answer, or after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

/** Binds a port (0: any free one). Throws CONFIG_INVALID with the port when it is taken or not allowed. */
export async function listen(
  service: string,
  listener: RequestListener,
  address: { readonly host: string; readonly port: number },
): Promise<Listening> {
  // Node's default of 5 s would close a kept-alive connection in the moment in which a caller uses it again.
  const server = createServer({ keepAliveTimeout: 65_000, headersTimeout: 20_000, requestTimeout: 60_000 }, listener);
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => reject(toListenError(service, address, cause));
    server.once('error', refuse);
    server.listen(address.port, address.host, () => {
      server.off('error', refuse);
      resolve();
    });
  });
  // A connection that cannot be accepted, for example for want of file descriptors, must not end the service.
  server.on('error', (error) => process.emitWarning(error.message, 'ServerWarning'));
  let closing = false;
  // Node.js itself keeps a connection that becomes idle after `close` until its keep-alive time has passed.
  server.on('request', (_request, response) => {
    response.once('close', () => {
      if (closing) setImmediate(() => server.closeIdleConnections());
    });
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    server,
    port,
    url: `http://${host}:${port}`,
    close(graceMs = 1000) {
      return new Promise((resolve) => {
        closing = true;
        const force = setTimeout(() => server.closeAllConnections(), graceMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        server.closeIdleConnections();
      });
    },
  };
}

function toListenError(
  service: string,
  { host, port }: { host: string; port: number },
  cause: NodeJS.ErrnoException,
): RbeeError {
  const why: Record<string, string> = {
    EADDRINUSE: 'is in use by another process',
    EACCES: 'may not be opened by this user',
    EADDRNOTAVAIL: 'is on an address that this machine does not have',
  };
  return new RbeeError(
    'CONFIG_INVALID',
    `${service} cannot listen: port ${port} on ${host} ${why[cause.code ?? ''] ?? `fails (${cause.code})`}`,
    {
      details: { port, host, cause: cause.code },
      suggestion: `end the process that uses port ${port}, or choose another one with --port`,
      cause,
    },
  );
}
