import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Target } from '../call.js';
import { type Clock, systemClock } from '../clock.js';
import { httpTransport } from '../transport.js';

export interface FreePeer extends Target {
  readonly server: Server;
}

const peers: FreePeer[] = [];

/** Starts a service that answers as it likes; `stopPeers` ends it. */
export async function startPeer(
  respond: (response: ServerResponse) => void,
  clock: Clock = systemClock,
): Promise<FreePeer> {
  const server = createServer((_request, response) => respond(response));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const peer = { server, clock, transport: httpTransport({ name: 'rbee-hive', url }) };
  peers.push(peer);
  return peer;
}

/** Ends everything that was started, connections included. */
export async function stopPeers(): Promise<void> {
  for (const { transport, server } of peers.splice(0)) {
    transport.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
