import { getEventListeners, once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { httpTransport, type Transport, type TransportResponse } from './transport.js';

const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(
  server: Server | TcpServer,
  options: { host?: string; connectTimeoutMs?: number } = {},
): Promise<Transport> {
  const { host = '127.0.0.1', ...rest } = options;
  await once(server.listen(0, host), 'listening');
  const { port } = server.address() as AddressInfo;
  const transport = httpTransport({
    name: 'queen-rbee',
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ...rest,
  });
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  cleanups.push(() => transport.close());
  return transport;
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const get = (transport: Transport, path = '/') => transport.send(path, { method: 'GET', headers: {} });
const post = (transport: Transport, body: string) => transport.send('/', { method: 'POST', headers: {}, body });

async function textOf({ body }: TransportResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A plain TCP peer that handles the n-th request of its n-th connection as told. */
function scriptedPeer(script: (socket: Socket, request: string, connection: number) => void) {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    const connection = sockets.size;
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      requests.push(String(data));
      script(socket, String(data), connection);
    });
  });
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { server, requests, sockets };
}

const ok = (text: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;

describe('a transport', () => {
  it('sends one request and gives status, headers and body', async () => {
    const transport = await start(
      createServer((request: IncomingMessage, response: ServerResponse) => {
        response.writeHead(201, { 'X-Seen': `${request.method} ${request.url} ${request.headers['content-length']}` });
        request.pipe(response);
      }),
    );
    const answer = await transport.send('/a%2Fb?c=d', { method: 'POST', headers: { 'X-A': 'b' }, body: 'ä€' });
    expect([answer.status, answer.headers['x-seen']]).toEqual([201, 'POST /a%2Fb?c=d 5']);
    expect(await textOf(answer)).toBe('ä€');
  });

  it('keeps its connection for the next request', async () => {
    const { server, sockets } = scriptedPeer((socket) => socket.write(ok('a')));
    const transport = await start(server);
    for (let i = 0; i < 3; i++) expect(await textOf(await get(transport))).toBe('a');
    expect(sockets.size).toBe(1);
  });

  it('reaches IPv6 addresses', async () => {
    const transport = await start(
      createServer((_request, response) => response.end('six')),
      { host: '::1' },
    );
    expect(await textOf(await get(transport))).toBe('six');
  });

  it.each(['https://host', 'ftp://host', 'host:8080', '', 'http://'])(
    'refuses an address of another kind: %s',
    (url) => {
      expect(() => httpTransport({ name: 'queen-rbee', url })).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      );
    },
  );
});

describe('a peer that cannot be reached', () => {
  it('refuses the connection', async () => {
    const server = createServer();
    const transport = await start(server);
    await new Promise((resolve) => server.close(resolve));
    const { port } = new URL(transport.peer.url);
    await expect(get(transport)).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      retryable: true,
      message: 'queen-rbee cannot be reached: the connection was refused',
      details: { service: 'queen-rbee', port: Number(port), cause: 'ECONNREFUSED' },
    });
  });

  it('has a name that does not exist', async () => {
    const transport = httpTransport({ name: 'queen-rbee', url: 'http://does-not-exist.invalid:8080' });
    const error = await get(transport).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'CONNECTION_TIMEOUT', details: { port: 8080 } });
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.details.cause);
  });

  it('closes the connection without an answer', async () => {
    const { server } = scriptedPeer((socket) => socket.destroy());
    await expect(get(await start(server))).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      details: { cause: 'ECONNRESET' },
    });
  });

  it('speaks another protocol', async () => {
    const { server } = scriptedPeer((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'));
    await expect(get(await start(server))).rejects.toMatchObject({
      code: 'INVALID_RESPONSE',
      message: expect.stringContaining('does not speak HTTP'),
      details: { service: 'queen-rbee' },
    });
  });
});

describe('a kept connection that the peer closed in this moment', () => {
  it('is replaced, and the request sent once more', async () => {
    const { server, requests } = scriptedPeer((socket, _request, connection) => {
      if (connection === 1 && requests.length > 1) socket.resetAndDestroy();
      else socket.write(ok(String(connection)));
    });
    const transport = await start(server);
    expect(await textOf(await get(transport))).toBe('1');
    expect(await textOf(await post(transport, 'body'))).toBe('2');
    expect(requests).toHaveLength(3);
  });

  it('is replaced only once, also where the next one is as old', async () => {
    const { server, requests, sockets } = scriptedPeer((socket) => {
      if (requests.length > 2) socket.resetAndDestroy();
      else if (requests.length === 2) for (const each of sockets) each.write(ok('a'));
    });
    const transport = await start(server);
    await Promise.all([get(transport).then(textOf), get(transport).then(textOf)]);
    await expect(get(transport)).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
    expect([requests.length, sockets.size]).toEqual([4, 2]);
  });

  it('is not replaced when it was closed from here: the peer may have taken the request', async () => {
    let arrived: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { server, requests } = scriptedPeer((socket) => {
      if (requests.length === 2) arrived();
      else socket.write(ok('a'));
    });
    const transport = await start(server);
    await textOf(await get(transport));
    const answer = post(transport, 'body').catch((caught) => caught);
    await arrival;
    transport.close();
    expect(await answer).toMatchObject({ code: 'CONNECTION_TIMEOUT', details: { cause: 'ECONNRESET' } });
    // It is as good as new for the next one.
    await textOf(await get(transport));
    expect(requests.map((request) => request.slice(0, 4))).toEqual(['GET ', 'POST', 'GET ']);
  });

  it('is not replaced when the answer has begun: nothing is done twice', async () => {
    const { server, requests, sockets } = scriptedPeer((socket) => {
      if (requests.length !== 2) socket.write(ok('a'));
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
    });
    const transport = await start(server);
    await textOf(await get(transport));
    const chunks = (await post(transport, 'body')).body[Symbol.asyncIterator]();
    expect(String((await chunks.next()).value)).toBe('half');
    expect(sockets.size).toBe(1);
    const rest = chunks.next();
    for (const socket of sockets) socket.resetAndDestroy();
    await expect(rest).rejects.toThrow();
    // A repeated request would be on its way before this one.
    await textOf(await get(transport));
    expect(requests.map((request) => request.slice(0, 4))).toEqual(['GET ', 'POST', 'GET ']);
  });
});

describe('a signal', () => {
  it('that is aborted already sends nothing', async () => {
    const { server, requests } = scriptedPeer((socket) => socket.write(ok('a')));
    const transport = await start(server);
    const signal = AbortSignal.abort(new Error('late'));
    await expect(transport.send('/', { method: 'GET', headers: {}, signal })).rejects.toThrow('late');
    expect(requests).toEqual([]);
  });

  it('ends a request that waits, with its reason, and closes its connection', async () => {
    const abort = new AbortController();
    const { server, sockets } = scriptedPeer(() => abort.abort(new Error('enough')));
    const transport = await start(server);
    await expect(transport.send('/', { method: 'GET', headers: {}, signal: abort.signal })).rejects.toThrow('enough');
    const [socket] = sockets;
    if (socket && !socket.closed) await once(socket, 'close');
  });

  it('ends a body that comes', async () => {
    const abort = new AbortController();
    const { server } = scriptedPeer((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'));
    const transport = await start(server);
    const answer = await transport.send('/', { method: 'GET', headers: {}, signal: abort.signal });
    const text = textOf(answer);
    abort.abort(new Error('enough'));
    await expect(text).rejects.toThrow();
  });
});

it('lets its signal go when the exchange is over, however it ends', async () => {
  const { signal } = new AbortController();
  const { server, requests } = scriptedPeer((socket) => {
    if (requests.length < 3) socket.write(ok('a'));
    else socket.destroy();
  });
  const transport = await start(server);
  const send = () => transport.send('/', { method: 'GET', headers: {}, signal });
  await textOf(await send());
  (await send()).body.destroy();
  await expect(send()).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
  for (let turn = 0; turn < 100 && getEventListeners(signal, 'abort').length > 0; turn++) await nextTurn();
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

it('a body that is left early closes its connection', async () => {
  const { server, sockets } = scriptedPeer((socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
  );
  const transport = await start(server);
  const { body } = await get(transport);
  for await (const _chunk of body) break;
  const [socket] = sockets;
  if (socket && !socket.closed) await once(socket, 'close');
});

it('closing ends the requests that run', async () => {
  let arrived: () => void = () => undefined;
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const { server } = scriptedPeer(() => arrived());
  const transport = await start(server);
  const answer = get(transport).catch((caught) => caught);
  await arrival;
  transport.close();
  expect(await answer).toMatchObject({ code: 'CONNECTION_TIMEOUT' });
});
