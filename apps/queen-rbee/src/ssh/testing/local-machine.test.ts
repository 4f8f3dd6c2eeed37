import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from '@jest/globals';
import { identify, systemClock, waitUntilGone } from '@rbee/daemon-kit';
import { LocalMachine } from './local-machine.js';
import { findFreePort } from './ssh-server.js';

const folder = mkdtempSync(join(tmpdir(), 'local-machine-'));
const machine = new LocalMachine({ variables: { PATH: '/usr/bin:/bin', HOME: folder }, cwd: folder });

afterAll(() => rmSync(folder, { recursive: true }));

it('runs scripts with their arguments in its own environment', async () => {
  const result = await machine.run('printf "[%s]" "$@" "$HOME"; pwd >&2; cat; exit 4', ['a b', "'$x"], {
    timeoutMs: 5000,
  });
  expect(result).toEqual({ code: 4, stdout: `[a b]['$x][${folder}]`, stderr: `${folder}\n` });
});

it('ends a script that takes too long with everything that it started', async () => {
  const pids: number[] = [];
  const onLine = (line: string) => pids.push(Number(line));
  const run = machine.run('sleep 60 & echo $!; wait', [], { timeoutMs: 200, onLine });
  await expect(run).rejects.toMatchObject({ code: 'SSH_COMMAND_FAILED', details: { reason: 'timeout' } });
  const identity = identify(pids[0] ?? 0);
  if (identity) expect(await waitUntilGone(identity, systemClock, 2000)).toBe(true);
});

it('ends a script with the reason of the signal', async () => {
  const abort = new AbortController();
  const run = machine.run('echo begun; sleep 60', [], {
    timeoutMs: 5000,
    signal: abort.signal,
    onLine: () => abort.abort(new Error('enough')),
  });
  await expect(run).rejects.toThrow('enough');
});

it('takes files, and leaves nothing of one that cannot be written', async () => {
  await machine.upload(Buffer.from('text'), join(folder, 'file'), { mode: 0o600 });
  expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('text');
  expect(statSync(join(folder, 'file')).mode & 0o777).toBe(0o600);
  await expect(machine.upload(Buffer.from('x'), join(folder, 'none', 'file'), { mode: 0o600 })).rejects.toMatchObject({
    code: 'SSH_COMMAND_FAILED',
  });
  expect(readdirSync(folder)).toEqual(['file']);
});

it('opens sockets', async () => {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = await machine.openSocket({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  expect(String((await once(socket, 'data'))[0])).toBe('hello');
  await new Promise((resolve) => server.close(resolve));
  const refused = machine.openSocket({ host: '127.0.0.1', port: await findFreePort() });
  await expect(refused).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
