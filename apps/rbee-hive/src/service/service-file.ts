import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { RbeeError } from '@rbee/protocol';

/** The file that describes a service to the system. */
export class ServiceFile {
  constructor(readonly path: string) {}

  /** Its text; `undefined` when there is none. */
  read(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw this.toError(error as NodeJS.ErrnoException);
    }
  }

  /** Writes the file whole. Throws INSTALL_FAILED. */
  write(text: string): void {
    const unfinished = `${this.path}.new`;
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      writeFileSync(unfinished, text, { mode: 0o644 });
      renameSync(unfinished, this.path);
    } catch (error) {
      rmSync(unfinished, { force: true });
      throw this.toError(error as NodeJS.ErrnoException);
    }
  }

  /** Throws INSTALL_FAILED. */
  remove(): void {
    try {
      rmSync(this.path, { force: true });
    } catch (error) {
      throw this.toError(error as NodeJS.ErrnoException);
    }
  }

  private toError(cause: NodeJS.ErrnoException): RbeeError {
    return new RbeeError('INSTALL_FAILED', `the service cannot be set up: ${this.path} (${cause.code})`, {
      details: { step: 'service', path: this.path, cause: cause.code },
      suggestion: 'give this user write permission on its folder, then try again',
      cause,
    });
  }
}
