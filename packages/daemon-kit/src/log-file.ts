import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
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
   * full, over its quota or broken drops the line. A file that somebody removed is made anew.
   */
  write(line: string): void {
    if (this.#descriptor === undefined) return;
    try {
      if (fstatSync(this.#descriptor).nlink === 0) this.reopen();
      writeSync(this.#descriptor, line);
    } catch (error) {
      if (!DISK_FAILURES.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }

  /**
   * Opens the path anew, for a file that was removed, or renamed to begin another. As long as the path can't be used,
   * lines still go to the former file.
   */
  reopen(): void {
    if (this.#descriptor === undefined) return;
    let descriptor: number;
    try {
      makeStateFolder(dirname(this.path));
      descriptor = openSync(this.path, 'a', 0o600);
    } catch {
      // Logging never ends the service; the next line tries again.
      return;
    }
    closeSync(this.#descriptor);
    this.#descriptor = descriptor;
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}
