import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  httpTransport,
  identify,
  isRunning,
  type Spoken,
  signalProcess,
  systemClock,
  waitUntilGone,
} from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import { brokeOff } from './ssh-errors.js';
import { findFreePort, type SshServer, startSshServer } from './testing/ssh-server.js';
import { TestSessions } from './testing/test-session.js';

const timeoutMs = 10_000;
const folder = mkdtempSync(join(tmpdir(), 'ssh-session-'));
const home = join(folder, 'node-home');
const sessions = new TestSessions();
let server: SshServer;

beforeAll(async () => {
  server = await startSshServer({ home });
});
afterEach(() => sessions.close());
afterAll(async () => {
  await sessions.stop();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs for long; what is left of it when its connection is gone ends behind the test. */
const LONG = 'echo $$; exec sleep 60';
const left: number[] = [];

afterEach(() => {
  for (const pid of left.splice(0)) {
    const identity = identify(pid);
    if (identity) signalProcess(identity, 'SIGKILL');
  }
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: RbeeError) => error,
  );

describe('a command over SSH', () => {
  it('has its arguments as they are, its exit code, both outputs and the home folder of the node', async () => {
    const session = sessions.open(server);
    const args = ['', 'two words', "it's", '$(id)', '`id`', 'a\nb', '-n', '\\', '*', 'käse', ';exit 9', '"'];
    const script = 'printf "[%s]" "$@"; echo "$HOME" >&2; cat; exit 3';
    const result = await session.run(script, args, { timeoutMs });
    expect(result).toEqual({ code: 3, stdout: args.map((arg) => `[${arg}]`).join(''), stderr: `${home}\n` });
  });

  it('tells its lines as they come and keeps the end of a long output', async () => {
    const session = sessions.open(server);
    const lines: string[] = [];
    const script = 'i=0; while [ $i -lt 30000 ]; do echo "line $i"; i=$((i+1)); done; printf rest';
    const { stdout } = await session.run(script, [], { timeoutMs, onLine: (line) => lines.push(line) });
    expect(lines).toHaveLength(30_001);
    expect(lines.at(-1)).toBe('rest');
    expect(stdout.endsWith('line 29999\nrest')).toBe(true);
    expect(stdout.length).toBeLessThanOrEqual(64 * 1024);
  });

  it('that a signal ends has no exit code', async () => {
    const session = sessions.open(server);
    expect(await session.run('kill -9 $$', [], { timeoutMs })).toMatchObject({ code: null });
  });

  it('that takes too long ends with everything that it started', async () => {
    const session = sessions.open(server);
    const pids: number[] = [];
    const run = session.run('sleep 60 & echo $!; echo $$; wait', [], {
      timeoutMs: 300,
      onLine: (line) => pids.push(Number(line)),
    });
    const error = await failure(run);
    expect(error).toMatchObject({ code: 'SSH_COMMAND_FAILED', details: { reason: 'timeout', timeout_ms: 300 } });
    expect(pids).toHaveLength(2);
    for (const pid of pids) {
      const identity = identify(pid);
      if (identity) expect(await waitUntilGone(identity, systemClock, 2000)).toBe(true);
    }
    expect((await session.run('echo again', [], { timeoutMs })).stdout).toBe('again\n');
  });

  it('that is cancelled ends on the node, too, and fails with the reason of the signal', async () => {
    const session = sessions.open(server);
    const abort = new AbortController();
    let pid = 0;
    const run = session.run('echo $$; sleep 60', [], {
      timeoutMs,
      signal: abort.signal,
      onLine: (line) => {
        pid = Number(line);
        abort.abort(new Error('not wanted any more'));
      },
    });
    expect((await failure(run)).message).toBe('not wanted any more');
    const identity = identify(pid);
    if (identity) expect(await waitUntilGone(identity, systemClock, 2000)).toBe(true);
    expect(identity && isRunning(identity)).toBeFalsy();
  });

  it('asks the login shell for nothing but /bin/sh, so that any shell will do', async () => {
    const other = await startSshServer({
      home,
      options: ['ForceCommand=test "$SSH_ORIGINAL_COMMAND" = /bin/sh && exec /bin/sh'],
    });
    try {
      const session = sessions.open(other);
      expect(await session.run('echo "$1"', ["'; exit 1"], { timeoutMs })).toMatchObject({ stdout: "'; exit 1\n" });
    } finally {
      await other.stop();
    }
  });

  it('waits when as many run as a server allows on one connection', async () => {
    const session = sessions.open(server);
    const runs = Array.from({ length: 25 }, (_, i) => session.run('echo $1', [String(i)], { timeoutMs }));
    const outputs = (await Promise.all(runs)).map(({ stdout }) => Number(stdout));
    expect(outputs).toEqual(Array.from({ length: 25 }, (_, i) => i));
    expect(server.sessions()).toHaveLength(1);
  });
});

describe('a file sent over SSH', () => {
  it('replaces another one, with its permissions, and tells how far it is', async () => {
    const session = sessions.open(server);
    const target = join(folder, "a file's $name");
    const content = Buffer.alloc(1_000_001, 'rbee');
    writeFileSync(target, 'old');
    const told: [number, number][] = [];
    await session.upload(content, target, { mode: 0o600, onProgress: (done, total) => told.push([done, total]) });
    expect(readFileSync(target).equals(content)).toBe(true);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(told.at(-1)).toEqual([1_000_001, 1_000_001]);
    await session.upload({ path: target }, join(folder, 'copy'), { mode: 0o755 });
    expect(readFileSync(join(folder, 'copy')).equals(content)).toBe(true);
    expect(statSync(join(folder, 'copy')).mode & 0o777).toBe(0o755);
    await session.upload(Buffer.alloc(0), join(folder, 'empty'), { mode: 0o644 });
    expect(statSync(join(folder, 'empty')).size).toBe(0);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('that cannot be written is told with its path', async () => {
    const session = sessions.open(server);
    const error = await failure(session.upload(Buffer.from('x'), join(folder, 'none', 'x'), { mode: 0o600 }));
    expect(error).toMatchObject({ code: 'SSH_COMMAND_FAILED', details: { path: join(folder, 'none', 'x') } });
    await expect(session.upload({ path: join(folder, 'nothing') }, join(folder, 'x'), { mode: 0o600 })).rejects.toThrow(
      'ENOENT',
    );
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });

  it('that is cancelled leaves nothing', async () => {
    const session = sessions.open(server);
    const abort = new AbortController();
    const target = join(folder, 'cancelled');
    const sending = session.upload(Buffer.alloc(5_000_000), target, {
      mode: 0o600,
      signal: abort.signal,
      onProgress: () => abort.abort(new Error('enough')),
    });
    expect((await failure(sending)).message).toBe('enough');
    expect(readdirSync(folder).filter((name) => name.startsWith('cancelled'))).toEqual([]);
  });

  it('needs SFTP', async () => {
    const other = await startSshServer({ home, options: ['Subsystem=sftp /bin/false'] });
    try {
      const session = sessions.open(other);
      const error = await failure(session.upload(Buffer.from('x'), join(folder, 'x'), { mode: 0o600 }));
      expect(error).toMatchObject({ code: 'SSH_COMMAND_FAILED', details: { setting: 'Subsystem sftp' } });
    } finally {
      await other.stop();
    }
  });
});

describe('a forwarded connection', () => {
  const http = createServer((request, response) => {
    if (request.url === '/open') response.write('begun');
    else request.pipe(response);
  });
  let port = 0;

  beforeAll(async () => {
    await once(http.listen(0, '127.0.0.1'), 'listening');
    port = (http.address() as AddressInfo).port;
  });
  afterAll(() => {
    http.closeAllConnections();
    http.close();
  });

  const read = async (body: AsyncIterable<Uint8Array>) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const open = (session: ReturnType<TestSessions['open']>) =>
    httpTransport({
      name: 'rbee-hive',
      url: `http://127.0.0.1:${port}`,
      openSocket: (address) => session.openSocket(address),
    });

  it('carries HTTP, large bodies included, and is used again', async () => {
    const transport = open(sessions.open(server));
    const large = 'x'.repeat(3_000_000);
    for (const body of ['small', large]) {
      const response = await transport.send('/', { method: 'POST', headers: {}, body });
      expect(await read(response.body)).toBe(body);
    }
    expect(await new Promise((resolve) => http.getConnections((_error, count) => resolve(count)))).toBe(1);
    transport.close();
  });

  it('to a port that nothing listens on is refused', async () => {
    const session = sessions.open(server);
    const refused = session.openSocket({ host: '127.0.0.1', port: await findFreePort() });
    expect(await failure(refused)).toMatchObject({ code: 'ECONNREFUSED' });
    expect(session.connected).toBe(true);
  });

  it('needs a server that allows it', async () => {
    const other = await startSshServer({ home, options: ['AllowTcpForwarding=no'] });
    try {
      const error = await failure(sessions.open(other).openSocket({ host: '127.0.0.1', port }));
      expect(error).toMatchObject({ code: 'SSH_FORWARDING_DENIED', details: { setting: 'AllowTcpForwarding' } });
    } finally {
      await other.stop();
    }
  });

  it('fails with the reason when the connection is dropped in the middle of an answer', async () => {
    const session = sessions.open(server);
    const transport = open(session);
    const response = await transport.send('/open', { method: 'GET', headers: {} });
    const body = read(response.body);
    const lost: string[] = [];
    session.onLost((reason) => lost.push(reason.code));
    server.dropConnections();
    await expect(body).rejects.toThrow();
    expect(lost).toEqual(['SSH_CONNECTION_TIMEOUT']);
    expect(session.connected).toBe(false);
    transport.close();
  });
});

describe('a connection that breaks', () => {
  it('fails what runs on it, is told once, and is made again when it is needed', async () => {
    const session = sessions.open(server);
    const lost: RbeeError[] = [];
    session.onLost((reason) => lost.push(reason));
    const running = session.run(LONG, [], { timeoutMs, onLine: () => server.dropConnections() });
    const error = await failure(running);
    expect(error).toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT', details: { node: 'bench-1', host: '127.0.0.1' } });
    expect(error.message).toContain('the SSH connection to bench-1 broke off');
    expect(lost).toEqual([error]);
    expect((await session.run('echo again', [], { timeoutMs })).stdout).toBe('again\n');
  });

  it('is noticed when the other side goes silent, also in the middle of a command', async () => {
    const session = sessions.open(server, { timeouts: { ssh_keep_alive: 60 } });
    const startedAt = performance.now();
    const onLine = (line: string) => {
      left.push(Number(line));
      server.freeze();
    };
    const running = session.run(LONG, [], { timeoutMs, onLine });
    try {
      expect(await failure(running)).toMatchObject({ details: { cause: 'ETIMEDOUT' } });
      expect(performance.now() - startedAt).toBeLessThan(2000);
    } finally {
      server.thaw();
    }
    expect((await session.run('echo again', [], { timeoutMs })).stdout).toBe('again\n');
  });

  it('stays while the other side answers, however long nothing else moves', async () => {
    const session = sessions.open(server, { timeouts: { ssh_keep_alive: 60 } });
    expect((await session.run('sleep 1; echo done', [], { timeoutMs })).stdout).toBe('done\n');
  });

  it('is dropped with a reason of ours', async () => {
    const session = sessions.open(server);
    await session.connect();
    const lost: RbeeError[] = [];
    session.onLost((reason) => lost.push(reason));
    const reason = brokeOff('bench-1', server, 'CLOSED');
    const running = session.run(LONG, [], {
      timeoutMs,
      onLine: (line) => {
        left.push(Number(line));
        session.drop(reason);
      },
    });
    expect(await failure(running)).toBe(reason);
    expect(lost).toEqual([reason]);
    session.drop(reason);
    expect(lost).toHaveLength(1);
  });

  it('ends for good when the session is closed', async () => {
    const session = sessions.open(server);
    await session.connect();
    session.onLost(() => {
      throw new Error('nobody is to be told');
    });
    await session.close();
    expect(await failure(session.connect())).toMatchObject({ code: 'CANCELLED' });
    for (let i = 0; i < 100 && server.sessions().length > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(server.sessions()).toEqual([]);
  });
});

describe('connecting', () => {
  const speak = () => {
    const said: string[] = [];
    return { said, narrate: ({ action, human }: Spoken) => void said.push(`${action}: ${human}`) };
  };

  it('is done once for all who want it at the same time', async () => {
    const session = sessions.open(server);
    const one = speak();
    const other = speak();
    await Promise.all([session.connect(one.narrate), session.connect(other.narrate), session.connect()]);
    expect(server.sessions()).toHaveLength(1);
    expect(one.said).toEqual(['ssh_check: checking SSH access to 127.0.0.1']);
    expect(other.said).toEqual(one.said);
    await session.connect(one.narrate);
    expect(one.said).toHaveLength(1);
    const keys = { [`[127.0.0.1]:${server.port}`]: server.hostKey };
    expect(session.seenHostKeys).toEqual(keys);
  });

  it('is tried three times at a port that refuses, and each attempt is told', async () => {
    const port = await findFreePort();
    const session = sessions.open({ ...server, port });
    const { said, narrate } = speak();
    const error = await failure(session.connect(narrate));
    expect(error).toMatchObject({
      code: 'SSH_CONNECTION_TIMEOUT',
      message: `no SSH connection to 127.0.0.1:${port} after 3 attempts (the connection was refused)`,
      details: { host: '127.0.0.1', port, cause: 'ECONNREFUSED', attempts: 3, timeout_ms: 10_000 },
    });
    expect(error.suggestion).toContain('ping 127.0.0.1');
    const at = `the connection was refused (127.0.0.1:${port}, limit 10 s)`;
    expect(said).toEqual([
      'ssh_check: checking SSH access to 127.0.0.1',
      `ssh_check: attempt 2/3 after 200 ms: ${at}`,
      `ssh_check: attempt 3/3 after 400 ms: ${at}`,
    ]);
  });

  it('gives up on a listener that never speaks', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const session = sessions.open({ ...server, port }, { timeouts: { ssh_connect: 250 } });
    const { said, narrate } = speak();
    const error = await failure(session.connect(narrate));
    expect(error.message).toBe(`no SSH connection to 127.0.0.1:${port} after 3 attempts (timeout)`);
    expect(said[1]).toBe(`ssh_check: attempt 2/3 after 200 ms: timed out (127.0.0.1:${port}, limit 250 ms)`);
    silent.close();
  });

  it.each([
    ['something else than SSH', (socket: import('node:net').Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['nothing', (socket: import('node:net').Socket) => socket.end()],
  ])('fails at a listener that says %s', async (_name, speakTo) => {
    const odd = createTcpServer(speakTo).listen(0, '127.0.0.1');
    await once(odd, 'listening');
    const { port } = odd.address() as AddressInfo;
    const session = sessions.open({ ...server, port }, { variables: { PATH: '/usr/bin:/bin', RBEE_NO_RETRY: '1' } });
    expect(await failure(session.connect())).toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT', details: { port } });
    odd.close();
  });

  it('fails for a name that nobody knows', async () => {
    const session = sessions.open(server, {
      address: { host: 'no-such-host.invalid' },
      variables: { PATH: '/usr/bin:/bin', RBEE_NO_RETRY: '1' },
    });
    const error = await failure(session.connect());
    expect(error.code).toBe('SSH_CONNECTION_TIMEOUT');
    expect(String(error.details.cause)).toMatch(/^(ENOTFOUND|EAI_AGAIN)$/);
    expect(error.suggestion).toContain('no-such-host.invalid');
  });

  it('ends at once when the only one who wants it goes away, and begins anew for the next', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const session = sessions.open({ ...server, port: (silent.address() as AddressInfo).port });
    const abort = new AbortController();
    const waiting = failure(session.connect(undefined, abort.signal));
    const [socket] = (await once(silent, 'connection')) as [import('node:net').Socket];
    const closed = once(socket.resume(), 'close');
    abort.abort(new Error('never mind'));
    expect((await waiting).message).toBe('never mind');
    await closed;
    const next = failure(session.connect());
    await once(silent, 'connection');
    session.drop((await failure(Promise.reject(new Error('dropped')))) as RbeeError);
    expect((await next).message).toBe('dropped');
    silent.close();
  });
});

describe('a host key', () => {
  it('that changed is refused without another attempt, with both fingerprints', async () => {
    const other = await startSshServer({ home });
    try {
      const { port, hostKey, hostKeyFingerprint: before } = other;
      const hostKeys = { [`[127.0.0.1]:${port}`]: hostKey };
      await sessions.open(other, { hostKeys }).connect();
      await other.restartWithNewHostKey();
      const error = await failure(sessions.open(other, { hostKeys }).connect());
      expect(error).toMatchObject({
        code: 'SSH_HOST_KEY_CHANGED',
        details: { expected_fingerprint: before, offered_fingerprint: other.hostKeyFingerprint, source: 'pinned' },
      });
      expect(error.message).toContain(before);
      expect(error.message).toContain(other.hostKeyFingerprint);
      await sessions.open(other, { hostKeys, expectedFingerprint: other.hostKeyFingerprint }).connect();
    } finally {
      await other.stop();
    }
  });

  it('of an address that the node did not have when it was added is refused', async () => {
    const hostKeys = { '[192.0.2.1]:22': server.hostKey };
    const error = await failure(sessions.open(server, { hostKeys }).connect());
    expect(error).toMatchObject({ code: 'SSH_HOST_KEY_CHANGED', details: { reason: 'unknown' } });
    await sessions.open(server, { hostKeys, expectedFingerprint: server.hostKeyFingerprint }).connect();
  });

  it('must be the expected one', async () => {
    await sessions.open(server, { expectedFingerprint: server.hostKeyFingerprint }).connect();
    const expectedFingerprint = `SHA256:${'A'.repeat(43)}`;
    const error = await failure(sessions.open(server, { expectedFingerprint }).connect());
    expect(error).toMatchObject({
      code: 'SSH_HOST_KEY_CHANGED',
      details: { expected_fingerprint: expectedFingerprint },
    });
  });
});
