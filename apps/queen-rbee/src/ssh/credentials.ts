import { readFile, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { basename } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import type { AnyAuthMethod, BaseAgent, ParsedKey, PublicKeyEntry } from 'ssh2';
import { publicPart } from './key-file.js';
import type { Destination } from './ssh-config.js';

/** One key that can be tried. */
interface Credential {
  /** The file, or what the agent calls it. */
  readonly label: string;
  readonly method: AnyAuthMethod;
}

export interface Credentials {
  /** In the order in which they are tried. */
  readonly list: readonly Credential[];
  /** Why keys that are there are left out. */
  readonly notes: readonly string[];
}

interface Agent {
  readonly keys: readonly ParsedKey[];
  /** Lets the agent sign with one of its keys only. */
  offer(key: ParsedKey): AnyAuthMethod;
}

/**
 * The keys for a destination: the named one, those of the agent, those of ssh_config or the usual files. Never asks
 * anybody: a key with a passphrase counts where the agent holds it. Throws SSH_KEY_NOT_FOUND when the named key does
 * not exist, and SSH_AUTH_FAILED when it cannot be used.
 */
export async function gatherCredentials(destination: Destination): Promise<Credentials> {
  const { namedKey, identityFiles, identitiesOnly, user } = destination;
  const agent = await openAgent(destination);
  const list: Credential[] = [];
  const notes: string[] = [];
  const offered = new Set<string>();
  const add = (label: string, key: ParsedKey, method: AnyAuthMethod) => {
    const id = key.getPublicSSH().toString('base64');
    if (offered.has(id)) return;
    offered.add(id);
    list.push({ label, method });
  };
  const addFile = async (path: string): Promise<string | undefined> => {
    const found = await readKey(path, user, agent);
    if (typeof found === 'string') return found;
    // Where the keys of the queen's user lie is nobody else's business; a named key is known to who named it.
    add(path === namedKey ? path : basename(path), found.key, found.method);
    return undefined;
  };

  if (namedKey !== undefined) {
    const problem = await addFile(namedKey);
    if (problem !== undefined) throw unusable(destination, namedKey, problem);
    if (identitiesOnly) return { list, notes };
  }
  if (!identitiesOnly) {
    // Keys of the agent that a file names come first: a server allows only a few attempts.
    const named = await Promise.all(identityFiles.map((path) => readPublicPart(path)));
    const rank = (key: ParsedKey) => (named.some((part) => part?.equals(key.getPublicSSH())) ? 0 : 1);
    const keys = [...(agent?.keys ?? [])].sort((one, other) => rank(one) - rank(other));
    for (const key of keys) {
      if (agent) add(key.comment || 'a key of the agent', key, agent.offer(key));
    }
  }
  for (const path of identityFiles) {
    const problem = await addFile(path);
    if (problem !== undefined && problem !== MISSING) notes.push(`${basename(path)} ${problem}`);
  }
  return { list, notes };
}

const MISSING = 'does not exist';

/** The way to use the key in a file, or why it cannot be used. */
async function readKey(
  path: string,
  username: string,
  agent: Agent | undefined,
): Promise<{ key: ParsedKey; method: AnyAuthMethod } | string> {
  const { utils } = (await import('ssh2')).default;
  let content: Buffer;
  try {
    content = await readFile(path);
    const { mode, uid } = await stat(path);
    const isOpen = (mode & 0o077) !== 0 && uid === userInfo().uid;
    if (isOpen && content.includes('PRIVATE KEY')) {
      return `can be read by others (permissions ${(mode & 0o777).toString(8)}; chmod 600 ${path} mends that)`;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? MISSING : `cannot be read: ${message}`;
  }
  const parsed = utils.parseKey(content);
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key && !(key instanceof Error) && key.isPrivateKey()) {
    return { key, method: { type: 'publickey', username, key: content } };
  }
  const blob = await readPublicPart(path);
  const held = blob && agent?.keys.find((each) => each.getPublicSSH().equals(blob));
  if (held && agent) return { key: held, method: agent.offer(held) };
  if (key instanceof Error && !/passphrase/i.test(key.message)) return `is no private key: ${key.message}`;
  return `${key instanceof Error ? 'has a passphrase' : 'is a public key'}, and no agent holds it`;
}

/** The public key of a key file, also of one with a passphrase, where it can be told without it. */
async function readPublicPart(path: string): Promise<Buffer | undefined> {
  const { utils } = (await import('ssh2')).default;
  const read = (file: string) => readFile(file).catch(() => undefined);
  const content = await read(path);
  if (!content) return undefined;
  const blob = publicPart(content.toString('latin1'));
  if (blob) return blob;
  for (const each of [content, await read(`${path}.pub`)]) {
    const parsed = each && utils.parseKey(each);
    const key = Array.isArray(parsed) ? parsed[0] : parsed;
    if (key && !(key instanceof Error)) return key.getPublicSSH();
  }
  return undefined;
}

/** The agent with the keys that it holds; `undefined` where there is none, or none that answers. */
async function openAgent({ identityAgent, user }: Destination): Promise<Agent | undefined> {
  if (!identityAgent) return undefined;
  const ssh2 = (await import('ssh2')).default;
  const agent = ssh2.createAgent(identityAgent);
  const entries = await new Promise<readonly (ParsedKey | PublicKeyEntry | Buffer | string)[]>((resolve) =>
    agent.getIdentities((error, keys) => resolve(error ? [] : (keys ?? []))),
  );
  const keys = entries.flatMap((entry) => {
    const parsed = ssh2.utils.parseKey(entry as ParsedKey);
    return parsed instanceof Error || Array.isArray(parsed) ? [] : [parsed];
  });
  class OneKey extends ssh2.BaseAgent {
    readonly #key: ParsedKey;

    constructor(key: ParsedKey) {
      super();
      this.#key = key;
    }

    override getIdentities(callback: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
      callback(undefined, [this.#key]);
    }

    override sign: BaseAgent['sign'] = (...args: unknown[]) => {
      agent.sign(...(args as Parameters<typeof agent.sign>));
    };
  }
  return { keys, offer: (key) => ({ type: 'agent', username: user, agent: new OneKey(key) }) };
}

function unusable({ host, port, user }: Destination, path: string, problem: string): RbeeError {
  if (problem === MISSING) {
    return new RbeeError('SSH_KEY_NOT_FOUND', `there is no SSH key at ${path}`, {
      details: { host, path },
      suggestion: `check the path: ls -l ${path}`,
    });
  }
  return new RbeeError('SSH_AUTH_FAILED', `the SSH key ${path} cannot be used: it ${problem}`, {
    details: { host, port, user, path },
    suggestion: /passphrase/.test(problem)
      ? `lend it to the agent: ssh-add ${path}, then check with ssh-add -l`
      : `look at the file: ls -l ${path}`,
  });
}
