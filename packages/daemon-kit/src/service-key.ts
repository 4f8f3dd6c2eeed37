import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from './environment.js';
import type { Logger } from './logger.js';
import { readSecretFile, type Secret } from './secret-file.js';

/** Where a service has its key from: a file that its configuration names, or a credential of the service manager. */
export interface KeySource {
  readonly kind: 'file' | 'credential';
  readonly path: string;
}

export interface KeySearch extends Pick<Environment, 'variables'> {
  /** What the configuration names, whichever way; it wins. */
  readonly file: string | undefined;
  /** Name of the service, for example `queen-rbee`. */
  readonly service: string;
  /** Folder of the service manager's credential directories. */
  readonly root?: string;
}

const CREDENTIAL = 'api_token';
const CREDENTIALS_ROOT = '/run/credentials';

/**
 * Where a service's key is: in the file that is configured, or else in the credential directory that the service manager
 * has made for it. `undefined` where there is neither. Whether the key can be used is found out by reading it.
 */
export function findKeySource({ file, variables, service, root = CREDENTIALS_ROOT }: KeySearch): KeySource | undefined {
  if (file !== undefined) return { kind: 'file', path: file };
  // Those of a systemd unit, and the plain name where a service manager knows no units.
  const folders = [join(root, `${service}.service`), join(root, service)];
  const own = variables.CREDENTIALS_DIRECTORY;
  const paths = (own ? [own, ...folders] : folders).map((folder) => join(folder, CREDENTIAL));
  const path = paths.find((candidate) => existsSync(candidate));
  return path === undefined ? undefined : { kind: 'credential', path };
}

/**
 * Owner of the key that callers of a service need. Who uses it asks for `current` each time and keeps no copy: the key
 * that was replaced is overwritten.
 */
export class ServiceKey {
  readonly source: KeySource;
  #current: Secret;

  private constructor(source: KeySource) {
    this.source = source;
    this.#current = readKey(source);
  }

  /** Reads the key. Throws CONFIG_INVALID when it cannot be used. */
  static load(source: KeySource): ServiceKey {
    return new ServiceKey(source);
  }

  /** The key that counts now. */
  get current(): Secret {
    return this.#current;
  }

  /**
   * Reads the key again. From then on only the new one is accepted; answers that have begun go on. A key that is missing or
   * cannot be used is logged, and the old one stays: a mistake neither opens nor closes a service. Never throws.
   */
  reload(log: Logger): 'changed' | 'unchanged' | 'kept' {
    const source = this.source.kind;
    let next: Secret;
    try {
      next = readKey(this.source);
    } catch (error) {
      const identity = this.#current.fingerprint;
      log.error({ error, source, identity }, 'the new key cannot be used: the old one stays');
      return 'kept';
    }
    const old = this.#current;
    if (next.matches(old)) {
      next.dispose();
      return 'unchanged';
    }
    this.#current = next;
    old.dispose();
    log.info({ source, identity: next.fingerprint, replaced: old.fingerprint }, 'the key was replaced');
    return 'changed';
  }

  /** Overwrites the key. Nobody is let in any more. */
  close(): void {
    this.#current.dispose();
  }
}

/** Says once, at the start, who can call: whoever has the key, or everybody on this machine. */
export function announceKey(log: Logger, host: string, key: ServiceKey | undefined): void {
  if (!key) {
    log.info({ host }, 'authentication is off: only this machine can call');
    return;
  }
  log.info({ source: key.source.kind, identity: key.current.fingerprint }, 'a key was loaded: callers need it');
}

function readKey({ kind, path }: KeySource): Secret {
  return readSecretFile(path, { credential: kind === 'credential' });
}
