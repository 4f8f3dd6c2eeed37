import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { type Listening, listen } from './listen.js';

const started: Listening[] = [];
const agent = new Agent({ keepAlive: true });

afterEach(async () => {
  agent.destroy();
  for (const listening of started.splice(0)) await listening.close(0);
});

async function start(
  listener: Parameters<typeof listen>[1] = (_request, response) => response.end('ok'),
  host = '127.0.0.1',
) {
  const listening = await listen('rbee-hive', listener, { host, port: 0 });
  started.push(listening);
  return listening;
}

/** One request over the kept-alive connection; resolves when its answer has been read. */
function ask(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (incoming) => {
      incoming.toArray().then((chunks) => resolve(Buffer.concat(chunks).toString()), reject);
    }).once('error', reject);
  });
}

describe('a service', () => {
  it('listens on a free port and says which', async () => {
    const { url, port } = await start();
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(await ask(url)).toBe('ok');
  });

  it('writes an IPv6 address as a URL has it', async () => {
    const { url, port } = await start(undefined, '::1');
    expect(url).toBe(`http://[::1]:${port}`);
    expect(await ask(url)).toBe('ok');
  });

  it('does not start on a port that is taken', async () => {
    const { port } = await start();
    await expect(listen('rbee-hive', () => undefined, { host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: `rbee-hive cannot listen: port ${port} on 127.0.0.1 is in use by another process`,
      details: { port, host: '127.0.0.1', cause: 'EADDRINUSE' },
      suggestion: expect.stringContaining('--port'),
    });
  });

  it('does not start on an address of another machine', async () => {
    await expect(listen('rbee-hive', () => undefined, { host: '203.0.113.1', port: 0 })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { cause: 'EADDRNOTAVAIL' },
    });
  });

  it('goes on when a connection cannot be accepted', async () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const { server, url } = await start();
    server.emit('error', new Error('accept EMFILE'));
    expect(warn.mock.calls).toEqual([['accept EMFILE', 'ServerWarning']]);
    warn.mockRestore();
    expect(await ask(url)).toBe('ok');
  });
});

describe('closing', () => {
  it('ends idle connections at once', async () => {
    const { url, close } = await start();
    await ask(url);
    await close(60_000);
    agent.destroy();
    await expect(ask(url)).rejects.toThrow('ECONNREFUSED');
  });

  it('waits for an answer that runs, and no longer', async () => {
    let answer: () => void = () => undefined;
    const { url, server, close } = await start((_request, response) => {
      answer = () => response.end('late');
    });
    const text = ask(url);
    await once(server, 'request');
    const closed = close(60_000);
    answer();
    expect(await text).toBe('late');
    await closed;
  });

  it('breaks off what has not ended within the grace time', async () => {
    const { url, server, close } = await start(() => undefined);
    const text = ask(url).catch((error: Error) => error.message);
    await once(server, 'request');
    await close(10);
    expect(await text).toBe('socket hang up');
  });

  it('ends connections that never sent a request', async () => {
    const { port, close, server } = await start();
    const socket = connect(port, '127.0.0.1');
    await once(server, 'connection');
    await close(10);
    if (!socket.closed) await once(socket.resume(), 'close');
  });

  it('may be asked for twice', async () => {
    const { close } = await start();
    await Promise.all([close(0), close(0)]);
    await close(0);
  });
});
