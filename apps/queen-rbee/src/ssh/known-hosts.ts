import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** What known_hosts files say about one host; each key as `<type> <base64>`. */
export interface KnownKeys {
  readonly keys: readonly string[];
  /** Keys that must never be accepted. */
  readonly revoked: readonly string[];
}

/** How known_hosts and the registry name a host: always with its port, unlike a file, which leaves out port 22. */
export function hostId(host: string, port: number): string {
  return `[${host.toLowerCase()}]:${port}`;
}

/** Looks a host up in files; those that do not exist are passed over. */
export async function readKnownKeys(files: readonly string[], host: string, port: number): Promise<KnownKeys> {
  const texts = await Promise.all(
    files.map((file) =>
      readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return '';
        throw error;
      }),
    ),
  );
  return findKnownKeys(texts.join('\n'), host, port);
}

/** Looks a host up in the text of a known_hosts file, see sshd(8): plain and hashed names, patterns and markers. */
export function findKnownKeys(text: string, host: string, port: number): KnownKeys {
  const name = port === 22 ? host.toLowerCase() : hostId(host, port);
  const keys: string[] = [];
  const revoked: string[] = [];
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined;
    const [names, type, base64] = fields;
    if (!names || names.startsWith('#') || !type || !base64) continue;
    // Certificate authorities sign keys of another kind, which are not asked for here.
    if (marker !== undefined && marker !== '@revoked') continue;
    if (!matches(names, name)) continue;
    (marker ? revoked : keys).push(`${type} ${base64}`);
  }
  return { keys, revoked };
}

function matches(names: string, name: string): boolean {
  if (names.startsWith('|')) {
    const [, version, salt, hash] = names.split('|');
    if (version !== '1' || !salt || !hash) return false;
    return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
  }
  let found = false;
  for (const pattern of names.split(',')) {
    const refused = pattern.startsWith('!');
    if (!toRegExp(refused ? pattern.slice(1) : pattern).test(name)) continue;
    if (refused) return false;
    found = true;
  }
  return found;
}

function toRegExp(pattern: string): RegExp {
  const source = pattern
    .toLowerCase()
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}
