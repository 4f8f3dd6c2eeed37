import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import type { SshAddress } from './ssh-address.js';
import { parseJump, resolveDestination } from './ssh-config.js';
import { expandPath, parseSshOptions, splitPaths, type TokenValues } from './ssh-options.js';

const home = mkdtempSync(join(tmpdir(), 'ssh-config-'));
const user = userInfo().username;
const variables = { PATH: '/usr/bin:/bin', SSH_AUTH_SOCK: '/run/agent' };

afterAll(() => rmSync(home, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  rmSync(join(home, '.ssh'), { recursive: true, force: true });
  for (const [name, text] of Object.entries(files)) {
    const path = join(home, '.ssh', name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, text, { mode: 0o600 });
  }
}

const resolve = (host: string, address: Partial<SshAddress> = {}) =>
  resolveDestination(
    { host, port: undefined, user: undefined, keyPath: undefined, ...address },
    { home, user, variables },
  );
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: RbeeError) => error,
  );

describe('a destination', () => {
  it('without any settings is the host, port 22, our user, the usual keys and files', async () => {
    write({});
    expect(await resolve('bench.test')).toEqual({
      host: 'bench.test',
      port: 22,
      user,
      namedKey: undefined,
      identityFiles: ['id_rsa', 'id_ecdsa', 'id_ed25519'].map((name) => join(home, '.ssh', name)),
      identitiesOnly: false,
      identityAgent: '/run/agent',
      knownHostsFiles: [
        join(home, '.ssh/known_hosts'),
        join(home, '.ssh/known_hosts2'),
        '/etc/ssh/ssh_known_hosts',
        '/etc/ssh/ssh_known_hosts2',
      ],
      knownHostsOnly: false,
      algorithms: {},
      jumps: [],
    });
  });

  it('has what ssh_config sets: Include, patterns, Match, and what was given first counts', async () => {
    write({
      config: [
        `Include ${join(home, '.ssh')}/conf.d/*.conf`,
        'Host bench-* !bench-9',
        '  User fromPattern',
        '  Port 2200',
        'Match host 10.0.0.7 user given',
        '  Port 2207',
        'Host *',
        '  IdentityFile ~/.ssh/key_%h_%r',
        '  IdentitiesOnly yes',
        '  StrictHostKeyChecking yes',
        `  UserKnownHostsFile ${home}/hosts ${home}/more`,
      ].join('\n'),
      'conf.d/one.conf': `Host bench-1\n  HostName 10.0.0.1\n  IdentityAgent ${home}/%r.sock\nHost bench-7\n  HostName 10.0.0.7\n`,
    });
    expect(await resolve('bench-1')).toMatchObject({
      host: '10.0.0.1',
      port: 2200,
      user: 'fromPattern',
      identityFiles: [join(home, '.ssh/key_10.0.0.1_fromPattern')],
      identitiesOnly: true,
      identityAgent: join(home, 'fromPattern.sock'),
      knownHostsOnly: true,
    });
    expect((await resolve('bench-1')).knownHostsFiles.slice(0, 2)).toEqual([`${home}/hosts`, `${home}/more`]);
    expect(await resolve('bench-9')).toMatchObject({ host: 'bench-9', port: 22, user });
    const given = { port: 22, user: 'given', keyPath: '/keys/mine' };
    expect(await resolve('bench-1', given)).toMatchObject({ host: '10.0.0.1', port: 22, user: 'given' });
    expect(await resolve('bench-1', given)).toMatchObject({
      namedKey: '/keys/mine',
      identityFiles: [join(home, '.ssh/key_10.0.0.1_given')],
    });
    expect(await resolve('bench-7', { user: 'given' })).toMatchObject({ port: 2200 });
    write({ config: 'Match originalhost seven user given\n  HostName 10.0.0.7\n  Port 2207\n' });
    expect(await resolve('seven', { user: 'given' })).toMatchObject({ host: '10.0.0.7', port: 2207 });
    expect(await resolve('seven')).toMatchObject({ host: 'seven', port: 22 });
  });

  it('may have no agent, or that of a variable', async () => {
    write({
      config: 'Host none\n  IdentityAgent none\nHost other\n  IdentityAgent $OTHER_SOCK\n  IdentityFile none\n',
    });
    expect((await resolve('none')).identityAgent).toBeUndefined();
    const destination = await resolveDestination(
      { host: 'other', port: undefined, user: undefined, keyPath: undefined },
      { home, user, variables: { ...variables, OTHER_SOCK: '/run/other' } },
    );
    expect(destination).toMatchObject({ identityAgent: '/run/other', identityFiles: [] });
  });

  it('restricts the algorithms', async () => {
    write({ config: 'Host *\n  Ciphers aes256-gcm@openssh.com,aes256-ctr\n  HostKeyAlgorithms ssh-ed25519\n' });
    expect((await resolve('bench')).algorithms).toEqual({
      cipher: ['aes256-gcm@openssh.com', 'aes256-ctr'],
      serverHostKey: ['ssh-ed25519'],
    });
  });

  it.each([
    ['ProxyCommand', 'ProxyCommand nc %h %p'],
    ['CertificateFile', 'CertificateFile ~/.ssh/cert.pub'],
    ['HostKeyAlias', 'HostKeyAlias other'],
    ['BindAddress', 'BindAddress 127.0.0.1'],
    ['BindInterface', 'BindInterface lo'],
    ['AddressFamily', 'AddressFamily inet6'],
    ['PKCS11Provider', 'PKCS11Provider /usr/lib/token.so'],
    ['KnownHostsCommand', 'KnownHostsCommand /bin/hosts'],
    ['RevokedHostKeys', 'RevokedHostKeys /etc/revoked'],
    ['PubkeyAuthentication', 'PubkeyAuthentication no'],
    ['IdentityFile', 'IdentityFile ~/.ssh/%j'],
  ])('cannot have %s', async (keyword, line) => {
    write({ config: `Host bench\n  ${line}\n` });
    const error = await failure(resolve('bench'));
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FIELD', details: { field: 'ssh_config', keyword } });
    expect(error?.message).toContain(keyword);
    await resolve('another');
  });

  it('is not told from a file that ssh cannot read', async () => {
    write({ config: 'Host bench\n  NoSuchKeyword yes\n' });
    const error = await failure(resolve('bench'));
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FIELD' });
    expect(error?.message.toLowerCase()).toContain('nosuchkeyword');
  });

  it('is never an option of ssh', async () => {
    write({});
    const marker = join(home, 'marker');
    const error = await failure(resolve(`-oProxyCommand=touch ${marker}`));
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FIELD' });
  });

  it('is what was given where there is no ssh program', async () => {
    write({ config: 'Host bench\n  HostName 10.0.0.1\n' });
    const address = { host: 'bench', port: 2200, user: undefined, keyPath: '/keys/mine' };
    const destination = await resolveDestination(address, { home, user, variables: { PATH: home } });
    expect(destination).toMatchObject({ host: 'bench', port: 2200, user, namedKey: '/keys/mine', jumps: [] });
  });
});

describe('hosts in between', () => {
  const chain = async (host: string) =>
    (await resolve(host)).jumps.map(({ user: name, host: through, port }) => `${name}@${through}:${port}`);

  it('come with their own settings, the first one first', async () => {
    write({
      config: [
        'Host inner\n  ProxyJump outer,me@10.0.0.2:2202',
        'Host outer\n  HostName 10.0.0.1\n  User gate\n  ProxyJump first',
        'Host 10.0.0.2\n  ProxyJump never',
        'Host direct\n  ProxyJump none',
        'Host *\n  Port 2200',
      ].join('\n'),
    });
    expect(await chain('inner')).toEqual([`${user}@first:2200`, 'gate@10.0.0.1:2200', 'me@10.0.0.2:2202']);
    expect(await chain('direct')).toEqual([]);
  });

  it('are refused when they lead round in a ring', async () => {
    write({ config: 'Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n' });
    expect(await failure(resolve('a'))).toMatchObject({ code: 'UNSUPPORTED_FIELD', details: { keyword: 'ProxyJump' } });
  });

  it.each([
    ['gate', { host: 'gate', port: undefined, user: undefined }],
    ['me@gate:2200', { host: 'gate', port: 2200, user: 'me' }],
    ['[::1]:22', { host: '::1', port: 22, user: undefined }],
    ['me@[fe80::1]', { host: 'fe80::1', port: undefined, user: 'me' }],
    ['ssh://me@gate:2200', { host: 'gate', port: 2200, user: 'me' }],
    ['::1', undefined],
    ['', undefined],
  ])('are read from %s', (text, expected) => {
    expect(parseJump(text)).toEqual(expected && { ...expected, keyPath: undefined });
  });
});

describe('what ssh -G prints', () => {
  it('is read with several values of one keyword', () => {
    const text = 'host bench\nIdentityFile ~/.ssh/a\nidentityfile ~/.ssh/b c\nproxyjump me@[10.0.0.1]:22\nbroken\n';
    const options = parseSshOptions(text);
    expect(options.get('identityfile')).toEqual(['~/.ssh/a', '~/.ssh/b c']);
    expect(options.get('proxyjump')).toEqual(['me@[10.0.0.1]:22']);
    expect(options.size).toBe(3);
  });

  it('has lists of paths without quotes', () => {
    expect(splitPaths('/home/my name/hosts ~/b /c')).toEqual(['/home/my name/hosts', '~/b', '/c']);
    expect(splitPaths('none')).toEqual([]);
  });

  const values: TokenValues = {
    home: '/home/me',
    localUser: 'me',
    hostname: 'queen.test',
    uid: 1000,
    host: '10.0.0.1',
    originalHost: 'bench',
    port: 2200,
    user: 'you',
    variables: { KEYS: '/keys' },
  };
  it.each([
    ['~/.ssh/id', '/home/me/.ssh/id'],
    ['~', '/home/me'],
    ['~other/id', '~other/id'],
    ['%d/%h-%n-%p-%r-%u-%i-%L-%l-%%', '/home/me/10.0.0.1-bench-2200-you-me-1000-queen-queen.test-%'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the form of ssh_config
    ['${KEYS}/id', '/keys/id'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the form of ssh_config
    ['${NONE}/id', undefined],
    ['%C', undefined],
  ])('has paths such as %s', (path, expected) => {
    expect(expandPath(path, values)).toBe(expected);
  });
});
