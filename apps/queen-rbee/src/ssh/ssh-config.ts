import { access } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import type { SshAddress } from './ssh-address.js';
import {
  expandPath,
  parseSshOptions,
  type RunSsh,
  type SshOptions,
  splitPaths,
  sshProgram,
  whereSet,
} from './ssh-options.js';

/** More hosts than this behind each other are taken for a ring. */
const MOST_JUMPS = 8;

/** Private keys that are looked for where nothing names one, in ssh's order and of the kinds that can be used here. */
const USUAL_KEYS = ['id_rsa', 'id_ecdsa', 'id_ed25519'];
const SYSTEM_KNOWN_HOSTS = ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'];

/** Keywords that change how or to what ssh connects, and that have no counterpart here. */
const UNSUPPORTED_KEYWORDS: Readonly<Record<string, string>> = {
  proxycommand: 'ProxyCommand',
  certificatefile: 'CertificateFile',
  hostkeyalias: 'HostKeyAlias',
  bindaddress: 'BindAddress',
  bindinterface: 'BindInterface',
  addressfamily: 'AddressFamily',
  pkcs11provider: 'PKCS11Provider',
  knownhostscommand: 'KnownHostsCommand',
  revokedhostkeys: 'RevokedHostKeys',
  pubkeyauthentication: 'PubkeyAuthentication',
};

/** Algorithms that may be used, where ssh_config restricts them; in ssh's spelling, the preferred one first. */
export interface AllowedAlgorithms {
  readonly kex?: readonly string[];
  readonly cipher?: readonly string[];
  readonly hmac?: readonly string[];
  readonly serverHostKey?: readonly string[];
}

/** Where an SSH connection leads and how it is made, with everything from ssh_config worked in. */
export interface Destination {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Private key that was asked for by name; it is tried first and must exist. */
  readonly namedKey: string | undefined;
  /** Keys that ssh_config names, or the usual ones; those that do not exist are passed over. */
  readonly identityFiles: readonly string[];
  /** Whether the agent's other keys stay out of it. */
  readonly identitiesOnly: boolean;
  /** Socket of the agent. */
  readonly identityAgent: string | undefined;
  readonly knownHostsFiles: readonly string[];
  /** Whether a host that no file knows is refused. */
  readonly knownHostsOnly: boolean;
  readonly algorithms: AllowedAlgorithms;
  /** Hosts to go through, the first one first. */
  readonly jumps: readonly Destination[];
}

export interface ResolveOptions {
  readonly home: string;
  /** User that the queen runs as. */
  readonly user: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Runs the ssh program; default: the real one. */
  readonly run?: RunSsh;
}

/**
 * Where an address leads, as the ssh program would read it: ssh itself evaluates ssh_config, so that Include, Match and
 * patterns count, and what the address says explicitly wins. Throws UNSUPPORTED_FIELD, which names the keyword, for
 * settings that cannot be honoured, and for a file that ssh refuses.
 */
export function resolveDestination(address: SshAddress, options: ResolveOptions): Promise<Destination> {
  return resolve(address, options, 0, undefined);
}

async function resolve(
  address: SshAddress,
  options: ResolveOptions,
  depth: number,
  /** Hosts to go through, where a chain says so instead of the host's own settings. */
  givenJumps: readonly Destination[] | undefined,
): Promise<Destination> {
  const { home, variables } = options;
  const run = options.run ?? sshProgram({ ...variables, HOME: home });
  const given = [
    ...(address.port === undefined ? [] : ['-p', String(address.port)]),
    ...(address.user === undefined ? [] : ['-l', address.user]),
  ];
  const ask = (config: readonly string[]) => run([...config, '-G', ...given, '--', address.host]);
  const [answer, usualAnswer] = await Promise.all([ask(await configArguments(home)), ask(['-F', 'none'])]);
  if (!answer || !usualAnswer) return withoutSsh(address, options);
  if (answer.code !== 0 || usualAnswer.code !== 0)
    throw refusedBySsh(address.host, answer.stderr || usualAnswer.stderr);
  const set = parseSshOptions(answer.stdout);
  const usual = parseSshOptions(usualAnswer.stdout);
  refuseUnsupported(address.host, set, usual);
  const jumps = givenJumps ?? (await resolveJumps(set.get('proxyjump')?.[0], options, depth));
  return toDestination(address, options, set, usual, jumps);
}

function toDestination(
  address: SshAddress,
  options: ResolveOptions,
  set: SshOptions,
  usual: SshOptions,
  jumps: readonly Destination[],
): Destination {
  const { home, user: localUser, variables } = options;
  const host = set.get('hostname')?.[0] ?? address.host;
  const port = Number(set.get('port')?.[0] ?? 22);
  const user = address.user ?? whereSet(set, usual, 'user') ?? localUser;
  const values = {
    home,
    localUser,
    hostname: hostname(),
    uid: userInfo().uid,
    host,
    originalHost: address.host,
    port,
    user,
    variables,
  };
  const expand = (keyword: string) => (path: string) => {
    const expanded = expandPath(path, values);
    if (expanded === undefined) throw unsupported(address.host, keyword, path);
    return expanded;
  };
  const identityFiles = whereSet(set, usual, 'identityfile')
    ?.split('\n')
    .filter((path) => path !== 'none')
    .map(expand('IdentityFile'));
  const strict = set.get('stricthostkeychecking')?.[0];
  return {
    host,
    port,
    user,
    namedKey: address.keyPath,
    // As ssh does: the usual files are for those who name none.
    identityFiles: identityFiles ?? (address.keyPath === undefined ? usualKeys(home) : []),
    identitiesOnly: set.get('identitiesonly')?.[0] === 'yes',
    identityAgent: readAgent(set.get('identityagent')?.[0], variables, expand('IdentityAgent')),
    knownHostsFiles: readKnownHostsFiles(set, usual, home, expand('UserKnownHostsFile')),
    knownHostsOnly: strict === 'yes' || strict === 'true',
    algorithms: readAlgorithms(set, usual),
    jumps,
  };
}

/** What is known where there is no ssh program, and with it nobody who reads ssh_config. */
function withoutSsh(address: SshAddress, { home, user, variables }: ResolveOptions): Destination {
  return {
    host: address.host,
    port: address.port ?? 22,
    user: address.user ?? user,
    namedKey: address.keyPath,
    identityFiles: address.keyPath === undefined ? usualKeys(home) : [],
    identitiesOnly: false,
    identityAgent: variables.SSH_AUTH_SOCK,
    knownHostsFiles: usualKnownHosts(home),
    knownHostsOnly: false,
    algorithms: {},
    jumps: [],
  };
}

const usualKeys = (home: string) => USUAL_KEYS.map((name) => join(home, '.ssh', name));
const usualKnownHosts = (home: string) => [
  join(home, '.ssh', 'known_hosts'),
  join(home, '.ssh', 'known_hosts2'),
  ...SYSTEM_KNOWN_HOSTS,
];

/** ssh takes the home folder from the user database; where HOME names another one, its file has to be named too. */
async function configArguments(home: string): Promise<readonly string[]> {
  if (home === userInfo().homedir) return [];
  const file = join(home, '.ssh', 'config');
  const exists = await access(file).then(
    () => true,
    () => false,
  );
  return ['-F', exists ? file : 'none'];
}

async function resolveJumps(
  proxyJump: string | undefined,
  options: ResolveOptions,
  depth: number,
): Promise<readonly Destination[]> {
  if (proxyJump === undefined || proxyJump === 'none') return [];
  const chain: Destination[] = [];
  for (const [index, text] of proxyJump.split(',').entries()) {
    if (depth + index >= MOST_JUMPS) {
      throw new RbeeError('UNSUPPORTED_FIELD', `ssh_config leads through more than ${MOST_JUMPS} hosts: ${proxyJump}`, {
        details: { field: 'ssh_config', keyword: 'ProxyJump', value: proxyJump },
        suggestion: 'look for a ProxyJump in ~/.ssh/config that leads to itself',
      });
    }
    const jump = parseJump(text);
    if (!jump) throw unsupported(text, 'ProxyJump', proxyJump);
    // The first host of a chain is reached as its own settings say; the others through those before them.
    const destination = await resolve(jump, options, depth + index + 1, index === 0 ? undefined : []);
    chain.push(...destination.jumps, { ...destination, jumps: [] });
  }
  return chain;
}

/** Reads `[user@]host[:port]` with an address of IPv6 in brackets, or the same as an ssh:// address. */
export function parseJump(text: string): SshAddress | undefined {
  const match = /^(?:ssh:\/\/)?(?:([^@]+)@)?(?:\[([^\]]+)\]|([^:@[\]]+))(?::(\d+))?\/?$/.exec(text.trim());
  const host = match?.[2] ?? match?.[3];
  if (host === undefined) return undefined;
  return { host, port: match?.[4] === undefined ? undefined : Number(match[4]), user: match?.[1], keyPath: undefined };
}

function readAgent(
  value: string | undefined,
  variables: ResolveOptions['variables'],
  expand: (path: string) => string,
): string | undefined {
  if (value === undefined || value === 'SSH_AUTH_SOCK') return variables.SSH_AUTH_SOCK || undefined;
  if (value === 'none') return undefined;
  return value.startsWith('$') && !value.startsWith('${') ? variables[value.slice(1)] : expand(value);
}

function readKnownHostsFiles(
  set: SshOptions,
  usual: SshOptions,
  home: string,
  expand: (path: string) => string,
): readonly string[] {
  const own = whereSet(set, usual, 'userknownhostsfile');
  const ofSystem = set.get('globalknownhostsfile')?.[0];
  return [
    ...(own === undefined ? usualKnownHosts(home).slice(0, 2) : splitPaths(own).map(expand)),
    ...(ofSystem === undefined ? SYSTEM_KNOWN_HOSTS : splitPaths(ofSystem)),
  ];
}

function readAlgorithms(set: SshOptions, usual: SshOptions): AllowedAlgorithms {
  const read = (keyword: string) => whereSet(set, usual, keyword)?.split(',');
  const [kex, cipher, hmac] = [read('kexalgorithms'), read('ciphers'), read('macs')];
  const serverHostKey = read('hostkeyalgorithms');
  return {
    ...(kex ? { kex } : {}),
    ...(cipher ? { cipher } : {}),
    ...(hmac ? { hmac } : {}),
    ...(serverHostKey ? { serverHostKey } : {}),
  };
}

function refuseUnsupported(host: string, set: SshOptions, usual: SshOptions): void {
  for (const [keyword, name] of Object.entries(UNSUPPORTED_KEYWORDS)) {
    const value = whereSet(set, usual, keyword);
    if (value !== undefined && value !== 'none') throw unsupported(host, name, value);
  }
}

function unsupported(host: string, keyword: string, value: string): RbeeError {
  return new RbeeError('UNSUPPORTED_FIELD', `ssh_config sets ${keyword} for ${host}, which rbee cannot honour`, {
    details: { field: 'ssh_config', host, keyword, value },
    suggestion: `give rbee a host of its own in ~/.ssh/config without ${keyword}; ssh -G ${host} shows what is set`,
  });
}

function refusedBySsh(host: string, stderr: string): RbeeError {
  const why = stderr.trim().split('\n')[0] ?? '';
  return new RbeeError('UNSUPPORTED_FIELD', `ssh cannot read the settings for ${host}: ${why}`, {
    details: { field: 'ssh_config', host },
    suggestion: `ssh -G ${host} shows what ssh says about it`,
  });
}
