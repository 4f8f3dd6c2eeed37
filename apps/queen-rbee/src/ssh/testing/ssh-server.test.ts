import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, it } from '@jest/globals';
import { type SshServer, startSshServer } from './ssh-server.js';

const home = mkdtempSync(join(tmpdir(), 'ssh-home-'));
let server: SshServer | undefined;

afterEach(async () => {
  await server?.stop();
  rmSync(home, { recursive: true, force: true });
});

it('lets in its key, sets the variables, and shows the host key that it tells', async () => {
  server = await startSshServer({ home, setEnv: { GREETING: 'two words' } });
  const { host, port, user, keyPath, hostKey } = server;
  const options = [
    '-F',
    'none',
    '-i',
    keyPath,
    '-p',
    String(port),
    '-o',
    'StrictHostKeyChecking=yes',
    '-o',
    'BatchMode=yes',
  ];
  const known = `UserKnownHostsFile=${join(home, 'known_hosts')}`;
  writeFileSync(join(home, 'known_hosts'), `[${host}]:${port} ${hostKey}\n`);
  const run = promisify(execFile)('ssh', [...options, '-o', known, `${user}@${host}`, 'echo "$HOME,$GREETING"']);
  expect((await run).stdout).toBe(`${home},two words\n`);
});
