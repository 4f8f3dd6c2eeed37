import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  type Stats,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import { rememberSecret } from './redact.js';
import { makeStateFolder } from './state-folder.js';

/** Far above any key; it bounds what a wrong path costs. */
const MAX_FILE_BYTES = 4096;

/** What is remembered of a key that nobody holds any more is forgotten, so that a daemon may see any number of them. */
const forgotten = new FinalizationRegistry<() => void>((forget) => forget());

/**
 * A bearer key, as UTF-8 bytes in a buffer that `dispose` overwrites. Printing it gives its fingerprint, never its value.
 */
export class Secret {
  readonly #bytes: Buffer;
  readonly #digest: Buffer;
  readonly #fingerprint: string;
  #disposed = false;
  #forget: (() => void) | undefined;

  /** Bytes are copied: they stay the caller's to overwrite. */
  constructor(value: string | Uint8Array) {
    this.#bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value);
    this.#digest = sha256(this.#bytes);
    this.#fingerprint = `token:${this.#digest.toString('hex').slice(0, 6)}`;
  }

  /** The key that stands behind `Bearer ` in a header, as Node gives that: one character for each byte. */
  static fromHeader(token: string): Secret {
    return new Secret(Buffer.from(token, 'latin1'));
  }

  /** The key itself, for a key file or an answer only. Throws once it was disposed of. */
  reveal(): string {
    return this.#use().toString();
  }

  /**
   * The value of an Authorization header. HTTP carries bytes: those of UTF-8 are written as one character each, which is
   * what Node sends as it is, and what `curl` sends for the same key. Throws once it was disposed of.
   */
  header(): string {
    return `Bearer ${this.#use().toString('latin1')}`;
  }

  /** Compares in constant time, over digests of equal length. One that was disposed of matches nothing. */
  matches(given: string | Secret): boolean {
    const other = typeof given === 'string' ? sha256(Buffer.from(given)) : given.#digest;
    const live = !this.#disposed && (typeof given === 'string' || !given.#disposed);
    return timingSafeEqual(this.#digest, other) && live;
  }

  /** From now until it is disposed of, `redact` hides it. Never for a key that a stranger sent, who could hide any text by that. */
  remember(): this {
    if (this.#forget || this.#disposed) return this;
    this.#forget = rememberSecret(this.#bytes);
    forgotten.register(this, this.#forget, this);
    return this;
  }

  /** Overwrites it. Copies that `reveal` and `header` made are the runtime's to collect. */
  dispose(): void {
    this.#disposed = true;
    this.#bytes.fill(0);
    this.#digest.fill(0);
    this.#forget?.();
    this.#forget = undefined;
    forgotten.unregister(this);
  }

  /** `token:` and the first six hexadecimal digits of the SHA-256; it stays when the key is gone. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  #use(): Buffer {
    if (this.#disposed) throw new Error(`the key ${this.fingerprint} was disposed of`);
    return this.#bytes;
  }

  toString(): string {
    return this.fingerprint;
  }

  toJSON(): string {
    return this.fingerprint;
  }
}

export interface ReadSecretOptions {
  /** It lies in a credential directory of the service manager, which may give the owner's group the right to read. */
  readonly credential?: boolean;
}

/**
 * Reads a key file: one line of printable characters, for its owner alone. Throws CONFIG_INVALID with what is wrong when
 * it is missing, no regular file, open to others, too large, empty, or holds anything else.
 */
export function readSecretFile(path: string, { credential = false }: ReadSecretOptions = {}): Secret {
  const refuse = (message: string, cause?: unknown) =>
    new RbeeError('CONFIG_INVALID', `the key file ${path} ${message}`, {
      details: { file: path },
      suggestion: `make it a file with one line, readable by its owner only: chmod 600 ${path}`,
      cause,
    });
  let file: number;
  try {
    // Without O_NONBLOCK opening a named pipe would wait for somebody who writes to it.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    throw refuse(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
  const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
  try {
    const stats = fstatSync(file);
    const fault = faultOfFile(stats, credential);
    if (fault !== undefined) throw refuse(fault);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(file, bytes, length, bytes.length - length, null);
    }
    if (length > MAX_FILE_BYTES) throw refuse(`is larger than ${MAX_FILE_BYTES} bytes`);
    const line = withoutLineEnd(bytes.subarray(0, length));
    const faultOfText = faultOfKey(line);
    if (faultOfText !== undefined) throw refuse(faultOfText);
    return new Secret(line).remember();
  } catch (cause) {
    if (cause instanceof RbeeError) throw cause;
    throw refuse(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  } finally {
    bytes.fill(0);
    closeSync(file);
  }
}

function faultOfFile(stats: Stats, credential: boolean): string | undefined {
  if (!stats.isFile()) return 'is not a regular file';
  const mode = stats.mode & 0o777;
  // A service manager that runs the service as another user lets that user in by an access list, whose mask is shown in
  // place of the group's rights.
  const listed = credential && mode === 0o440 && stats.uid === 0 && stats.gid === 0;
  if ((mode & 0o077) === 0 || listed) return undefined;
  return `has mode 0${mode.toString(8).padStart(3, '0')}, expected 0600 or 0400`;
}

/** Without one line end, `\n` or `\r\n`. */
function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

function faultOfKey(line: Buffer): string | undefined {
  const text = line.toString();
  if (text.trim() === '') return 'is empty';
  if (/[\r\n\u2028\u2029]/.test(text)) return 'has more than one line';
  if (text !== text.trim()) return 'begins or ends with a blank, which no header can carry';
  if (/\p{Cc}/u.test(text)) return 'holds a control character';
  return Buffer.from(text).equals(line) ? undefined : 'is not UTF-8 text';
}

/** Writes a key file that only its owner can read. Throws the system's error, EEXIST where there is a file. */
export function writeSecretFile(path: string, secret: Secret): void {
  writeFileSync(path, `${secret.remember().reveal()}\n`, { mode: 0o600, flag: 'wx' });
}

/**
 * The key of a key file, which is made where there is none, with its folder: a random one of 32 bytes. Whoever looks at
 * the same time sees a whole file or none. Throws CONFIG_INVALID when the file cannot be written, and for one that cannot
 * be used.
 */
export function ensureSecretFile(path: string): Secret {
  makeStateFolder(dirname(path));
  try {
    placeSecretFile(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // Somebody has made it before, or in this moment: that one counts.
    if (code !== 'EEXIST') throw toWriteError(path, cause as NodeJS.ErrnoException);
  }
  return readSecretFile(path);
}

/** A link appears at once and never replaces a file, which neither writing in place nor renaming can do both. */
function placeSecretFile(path: string): void {
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}`);
  const key = Buffer.from(`${randomBytes(32).toString('hex')}\n`);
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, key);
    linkSync(draft, path);
  } finally {
    key.fill(0);
    closeSync(file);
    rmSync(draft, { force: true });
  }
}

function toWriteError(path: string, cause: NodeJS.ErrnoException): RbeeError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  return new RbeeError('CONFIG_INVALID', `the key file ${path} cannot be written (${cause.code})`, {
    details: { file: path, cause: cause.code },
    suggestion: full
      ? `the disk is full: free some space (df -h ${dirname(path)} shows how much there is)`
      : `give this user write permission on ${dirname(path)}`,
    cause,
  });
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
