import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { RbeeError } from '@rbee/protocol';

/** A bearer key; printing it gives its fingerprint, never its value. */
export class Secret {
  readonly #value: string;
  readonly #digest: Buffer;

  constructor(value: string) {
    this.#value = value;
    this.#digest = createHash('sha256').update(value).digest();
  }

  /** The key itself, for a header or a key file only. */
  reveal(): string {
    return this.#value;
  }

  /** Compares in constant time, over digests of equal length. */
  matches(given: string): boolean {
    return timingSafeEqual(this.#digest, createHash('sha256').update(given).digest());
  }

  /** `token:` and the first six hexadecimal digits of the SHA-256. */
  get fingerprint(): string {
    return `token:${this.#digest.toString('hex').slice(0, 6)}`;
  }

  toString(): string {
    return this.fingerprint;
  }

  toJSON(): string {
    return this.fingerprint;
  }
}

/** Reads a key file. Throws CONFIG_INVALID when it is missing, open to others, empty, or holds more than one line. */
export function readSecretFile(path: string): Secret {
  const refuse = (message: string, cause?: unknown) =>
    new RbeeError('CONFIG_INVALID', `the key file ${path} ${message}`, {
      details: { file: path },
      suggestion: `make it a file with one line, readable by its owner only: chmod 600 ${path}`,
      cause,
    });
  let text: string;
  try {
    const mode = statSync(path).mode & 0o777;
    if ((mode & 0o077) !== 0) throw refuse(`has mode 0${mode.toString(8)}, expected 0600 or 0400`);
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    if (cause instanceof RbeeError) throw cause;
    throw refuse(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
  if (text.trim() === '') throw refuse('is empty');
  if (/[\r\n]/.test(text)) throw refuse('has more than one line');
  return new Secret(text);
}

/** Writes a key file that only its owner can read. */
export function writeSecretFile(path: string, secret: Secret): void {
  writeFileSync(path, `${secret.reveal()}\n`, { mode: 0o600, flag: 'wx' });
}
