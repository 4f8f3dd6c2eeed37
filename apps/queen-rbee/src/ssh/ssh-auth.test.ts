import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import { fingerprintOf } from './host-key.js';
import { makeKey, type SshServer, startSshServer } from './testing/ssh-server.js';
import { TestSessions } from './testing/test-session.js';

const folder = mkdtempSync(join(tmpdir(), 'ssh-auth-'));
const wrongKey = join(folder, 'wrong');
/** The right key, with a passphrase. */
const encryptedKey = join(folder, 'encrypted');
const agentSocket = join(folder, 'agent.sock');
let server: SshServer;
let agent: ChildProcess;
let sessions: TestSessions;

const withAgent = { PATH: '/usr/bin:/bin', SSH_AUTH_SOCK: agentSocket };

function agentCommand(...args: string[]): void {
  execFileSync('ssh-add', ['-q', ...args], { env: withAgent, stdio: 'ignore' });
}

beforeAll(async () => {
  server = await startSshServer({ home: join(folder, 'node') });
  makeKey(wrongKey);
  copyFileSync(server.keyPath, encryptedKey);
  execFileSync('ssh-keygen', ['-q', '-p', '-N', 'a passphrase', '-f', encryptedKey], { stdio: 'ignore' });
  agent = spawn('ssh-agent', ['-D', '-a', agentSocket], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(agent.stdout as NodeJS.ReadableStream, 'data');
});
beforeEach(() => {
  sessions = new TestSessions();
  mkdirSync(join(sessions.home, '.ssh'));
});
afterEach(async () => {
  agentCommand('-D');
  await sessions.stop();
});
afterAll(async () => {
  const ended = once(agent, 'exit');
  agent.kill();
  await ended;
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: RbeeError) => error,
  );
const writeConfig = (text: string) => writeFileSync(join(sessions.home, '.ssh', 'config'), text, { mode: 0o600 });

describe('the named key', () => {
  it('that does not exist is told', async () => {
    const keyPath = join(folder, 'none');
    const error = await failure(sessions.open(server, { address: { keyPath } }).connect());
    expect(error).toMatchObject({ code: 'SSH_KEY_NOT_FOUND', details: { path: keyPath } });
  });

  it('that the node does not know is refused once, with the user and what to look at', async () => {
    const said: string[] = [];
    const session = sessions.open(server, { address: { keyPath: wrongKey } });
    const error = await failure(session.connect(({ human }) => said.push(human)));
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED', details: { user: server.user, keys_tried: [wrongKey] } });
    expect(error?.message).toContain('permission denied');
    expect(error?.suggestion).toContain(`chmod 600 ${wrongKey}`);
    expect(error?.suggestion).toContain('ssh-add -l');
    expect(said).toHaveLength(1);
  });

  it('with a passphrase needs the agent', async () => {
    const address = { keyPath: encryptedKey };
    const error = await failure(sessions.open(server, { address, variables: withAgent }).connect());
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED' });
    expect(error?.message).toContain('passphrase');
    expect(error?.suggestion).toContain(`ssh-add ${encryptedKey}`);
    agentCommand(server.keyPath);
    await sessions.open(server, { address, variables: withAgent }).connect();
  });

  it('that others can read is not used, as ssh does not', async () => {
    const keyPath = join(folder, 'open');
    copyFileSync(server.keyPath, keyPath);
    chmodSync(keyPath, 0o644);
    const error = await failure(sessions.open(server, { address: { keyPath } }).connect());
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED' });
    expect(error?.message).toContain('chmod 600');
  });

  it('that is no key is told', async () => {
    const keyPath = join(folder, 'text');
    writeFileSync(keyPath, 'hello', { mode: 0o600 });
    const error = await failure(sessions.open(server, { address: { keyPath } }).connect());
    expect(error?.message).toContain('is no private key');
  });

  it('is not followed by the usual files, so that one that is refused is told', async () => {
    const usual = join(sessions.home, '.ssh', 'id_ed25519');
    copyFileSync(server.keyPath, usual);
    chmodSync(usual, 0o600);
    const error = await failure(sessions.open(server, { address: { keyPath: wrongKey } }).connect());
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED', details: { keys_tried: [wrongKey] } });
  });

  it('is followed by the agent, unless ssh_config says IdentitiesOnly', async () => {
    agentCommand(server.keyPath);
    const options = { address: { keyPath: wrongKey }, variables: withAgent };
    await sessions.open(server, options).connect();
    writeConfig('Host *\n  IdentitiesOnly yes\n');
    expect(await failure(sessions.open(server, options).connect())).toMatchObject({ code: 'SSH_AUTH_FAILED' });
  });
});

describe('without a named key', () => {
  const address = { keyPath: undefined };

  it('nothing to try is told', async () => {
    const error = await failure(sessions.open(server, { address }).connect());
    expect(error).toMatchObject({ code: 'SSH_AUTH_FAILED', details: { keys_tried: [] } });
    expect(error?.message).toContain('there is no key to try');
  });

  it('a usual file is used', async () => {
    copyFileSync(server.keyPath, join(sessions.home, '.ssh', 'id_ed25519'));
    chmodSync(join(sessions.home, '.ssh', 'id_ed25519'), 0o600);
    await sessions.open(server, { address }).connect();
  });

  it('the agent is used, with the key that a file names before all others', async () => {
    for (let i = 0; i < 7; i++) {
      const path = join(folder, `many-${i}`);
      if (!existsSync(path)) makeKey(path);
      agentCommand(path);
    }
    agentCommand(server.keyPath);
    const options = { address, variables: withAgent };
    // A server lets one try six keys.
    expect(await failure(sessions.open(server, options).connect())).toMatchObject({ code: 'SSH_AUTH_FAILED' });
    copyFileSync(encryptedKey, join(sessions.home, '.ssh', 'id_ed25519'));
    await sessions.open(server, options).connect();
  });

  it('an agent that is gone counts as none', async () => {
    const variables = { ...withAgent, SSH_AUTH_SOCK: join(folder, 'gone.sock') };
    expect(await failure(sessions.open(server, { address, variables }).connect())).toMatchObject({
      code: 'SSH_AUTH_FAILED',
    });
  });

  it('a file of ssh_config is used, and one with a passphrase is told', async () => {
    writeConfig(`Host *\n  IdentityFile ${encryptedKey}\n`);
    const error = await failure(sessions.open(server, { address }).connect());
    expect(error?.message).toContain('passphrase');
    writeConfig(`Host *\n  IdentityFile ${wrongKey}\n  IdentityFile ${server.keyPath}\n`);
    await sessions.open(server, { address }).connect();
  });
});

describe('known_hosts', () => {
  const writeKnown = (line: string) => writeFileSync(join(sessions.home, '.ssh', 'known_hosts'), `${line}\n`);

  it('that has another key refuses, also against the key that was accepted before', async () => {
    const name = `[127.0.0.1]:${server.port}`;
    writeKnown(`${name} ${server.hostKey}`);
    await sessions.open(server).connect();
    const other = execFileSync('ssh-keygen', ['-y', '-f', wrongKey], { encoding: 'utf8' }).trim();
    writeKnown(`${name} ${other}`);
    const session = sessions.open(server, { hostKeys: { [name]: server.hostKey } });
    const error = await failure(session.connect());
    expect(error).toMatchObject({
      code: 'SSH_HOST_KEY_CHANGED',
      details: { source: 'known_hosts', offered_fingerprint: server.hostKeyFingerprint },
    });
  });

  it('must have the host where ssh_config says so', async () => {
    writeConfig('Host *\n  StrictHostKeyChecking yes\n');
    expect(await failure(sessions.open(server).connect())).toMatchObject({ details: { reason: 'unknown' } });
    writeKnown(`[127.0.0.1]:${server.port} ${server.hostKey}`);
    await sessions.open(server).connect();
  });

  it('decides which of several host keys is asked for', async () => {
    const rsaKey = join(folder, 'host_rsa');
    execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', rsaKey]);
    const other = await startSshServer({ home: join(folder, 'node'), options: [`HostKey=${rsaKey}`] });
    try {
      const key = execFileSync('ssh-keygen', ['-y', '-f', rsaKey], { encoding: 'utf8' }).trim();
      const rsa = key.split(' ').slice(0, 2).join(' ');
      const name = `[127.0.0.1]:${other.port}`;
      const session = sessions.open(other, { hostKeys: { [name]: rsa } });
      await session.connect();
      expect(session.seenHostKeys).toEqual({ [name]: rsa });
      const fresh = sessions.open(other);
      await fresh.connect();
      expect(fresh.seenHostKeys).toEqual({ [name]: other.hostKey });
      const expecting = sessions.open(other, { expectedFingerprint: fingerprintOf(rsa) });
      await expecting.connect();
      expect(expecting.seenHostKeys).toEqual({ [name]: rsa });
      const error = await failure(sessions.open(other, { expectedFingerprint: fingerprintOf('x AAAA') }).connect());
      expect(error).toMatchObject({ details: { offered_fingerprint: other.hostKeyFingerprint, source: 'given' } });
    } finally {
      await other.stop();
    }
  });
});

describe('algorithms that ssh_config restricts', () => {
  it('are kept to', async () => {
    writeConfig(
      'Host *\n  Ciphers chacha20-poly1305@openssh.com\n  MACs hmac-sha2-512\n  KexAlgorithms curve25519-sha256\n',
    );
    await sessions.open(server).run('true', [], { timeoutMs: 5000 });
    writeConfig('Host *\n  KexAlgorithms sntrup761x25519-sha512@openssh.com\n');
    const error = await failure(sessions.open(server).connect());
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FIELD', details: { keyword: 'KexAlgorithms' } });
  });
});

describe('a host in between', () => {
  it('is gone through, its key is seen, and its loss ends the connection', async () => {
    const gate = await startSshServer({ home: join(folder, 'gate') });
    try {
      writeConfig(
        [
          `Host gate\n  HostName 127.0.0.1\n  Port ${gate.port}\n  IdentityFile ${gate.keyPath}`,
          `Host inner\n  HostName 127.0.0.1\n  Port ${server.port}\n  ProxyJump gate`,
        ].join('\n'),
      );
      const session = sessions.open(server, { address: { host: 'inner', port: undefined } });
      expect((await session.run('echo "$HOME"', [], { timeoutMs: 5000 })).stdout).toBe(`${server.home}\n`);
      expect(gate.sessions()).toHaveLength(1);
      expect(session.seenHostKeys).toEqual({
        [`[127.0.0.1]:${gate.port}`]: gate.hostKey,
        [`[127.0.0.1]:${server.port}`]: server.hostKey,
      });
      const lost = new Promise<RbeeError>((resolve) => session.onLost(resolve));
      gate.dropConnections();
      expect(await lost).toMatchObject({ code: 'SSH_CONNECTION_TIMEOUT', details: { node: 'bench-1' } });
      await session.connect();
    } finally {
      await gate.stop();
    }
  });

  it('may not forward, or find nobody behind it', async () => {
    const gate = await startSshServer({ home: join(folder, 'gate'), options: ['AllowTcpForwarding=no'] });
    try {
      writeConfig(
        [
          `Host gate\n  HostName 127.0.0.1\n  Port ${gate.port}\n  IdentityFile ${gate.keyPath}`,
          `Host open\n  HostName 127.0.0.1\n  Port ${server.port}\n  IdentityFile ${server.keyPath}`,
          `Host inner\n  HostName 127.0.0.1\n  Port ${server.port}\n  ProxyJump gate`,
          'Host nobody\n  HostName 127.0.0.1\n  Port 1\n  ProxyJump open',
        ].join('\n'),
      );
      const inner = sessions.open(server, { address: { host: 'inner', port: undefined } });
      expect(await failure(inner.connect())).toMatchObject({
        code: 'SSH_FORWARDING_DENIED',
        details: { port: gate.port },
      });
      const variables = { PATH: '/usr/bin:/bin', RBEE_NO_RETRY: '1' };
      const nobody = sessions.open(server, { address: { host: 'nobody', port: undefined }, variables });
      expect(await failure(nobody.connect())).toMatchObject({
        code: 'SSH_CONNECTION_TIMEOUT',
        details: { port: 1, cause: 'ECONNREFUSED' },
      });
    } finally {
      await gate.stop();
    }
  });
});
