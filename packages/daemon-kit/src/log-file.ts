import { closeSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeStateFolder } from './state-folder.js';

const DISK_FAILURES = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'EROFS']);

/** A log file that lines are appended to; created with its folder, readable by its owner only. */
export class LogFile {
  readonly path: string;
  #descriptor: number | undefined;

  constructor(path: string) {
    makeStateFolder(dirname(path));
    this.path = path;
    this.#descriptor = openSync(path, 'a', 0o600);
  }

  /**
   * Appends at once, so that nothing is lost when the process is killed. Logging never ends the service: a disk that is
   * full, over its quota or broken drops the line.
   */
  write(line: string): void {
    if (this.#descriptor === undefined) return;
    try {
      writeSync(this.#descriptor, line);
    } catch (error) {
      if (!DISK_FAILURES.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
