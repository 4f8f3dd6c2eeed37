import { createServer } from 'node:net';
import { RbeeError } from '@rbee/protocol';

/** The queen's port, which a worker must never take. */
const SKIPPED_PORTS: ReadonlySet<number> = new Set([8080]);
const DEFAULT_LAST_PORT = 9000;

/** Whether a port can be bound on a host now. */
export type CanBind = (host: string, port: number) => Promise<boolean>;

export interface PortChoice {
  host: string;
  /** First port to try; the last one is 9000, or the 1000th above a start beyond that. */
  start: number;
  /** Ports of workers that exist or are about to. */
  taken: ReadonlySet<number>;
  /** Told about each port that something else holds. */
  onInUse: (port: number) => void;
}

/** The lowest port from the start on that is not skipped, not taken and can be bound. Throws NO_FREE_PORT. */
export async function choosePort(choice: PortChoice, canBind: CanBind = tryToBind): Promise<number> {
  const { host, start, taken, onInUse } = choice;
  const last = start <= DEFAULT_LAST_PORT ? DEFAULT_LAST_PORT : Math.min(start + 999, 65_535);
  for (let port = start; port <= last; port++) {
    if (SKIPPED_PORTS.has(port) || taken.has(port)) continue;
    if (await canBind(host, port)) return port;
    onInUse(port);
  }
  throw new RbeeError('NO_FREE_PORT', `no port from ${start} to ${last} is free for a worker`, {
    details: { first: start, last },
    suggestion: 'stop workers that are not needed: rbee-keeper workers list, rbee-keeper workers shutdown --id ID',
  });
}

/** Binds the port for a moment. */
export const tryToBind: CanBind = (host, port) =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
