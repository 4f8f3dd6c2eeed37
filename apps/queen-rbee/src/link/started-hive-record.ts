import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isRunning, makeStateFolder, type ProcessIdentity } from '@rbee/daemon-kit';

interface Noted {
  readonly hive: ProcessIdentity;
  readonly queen: ProcessIdentity;
}

/** A note on disk of the hive that a queen has started on its own machine, so that the next queen ends what a killed one has left. */
export class StartedHiveRecord {
  readonly #file: string;
  readonly #queen: ProcessIdentity;

  constructor(file: string, queen: ProcessIdentity) {
    this.#file = file;
    this.#queen = queen;
  }

  /** Notes a hive of this queen. File system errors pass. */
  write({ pid, startTime }: ProcessIdentity): void {
    makeStateFolder(dirname(this.#file));
    const record = { hive: { pid, startTime }, queen: { pid: this.#queen.pid, startTime: this.#queen.startTime } };
    // Renamed into place, so that a queen killed in this moment leaves a whole note or none.
    writeFileSync(`${this.#file}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** The hive of a queen that runs no more; `undefined` when there is none. */
  orphan(): ProcessIdentity | undefined {
    const noted = this.#read();
    return noted && !isRunning(noted.queen) ? noted.hive : undefined;
  }

  remove(): void {
    rmSync(this.#file, { force: true });
  }

  #read(): Noted | undefined {
    try {
      const noted = JSON.parse(readFileSync(this.#file, 'utf8')) as Partial<Noted> | null;
      return isIdentity(noted?.hive) && isIdentity(noted?.queen) ? { hive: noted.hive, queen: noted.queen } : undefined;
    } catch {
      // None, or not readable: then there is nobody to take over.
      return undefined;
    }
  }
}

function isIdentity(value: ProcessIdentity | undefined): value is ProcessIdentity {
  return Number.isInteger(value?.pid) && Number(value?.pid) > 1 && typeof value?.startTime === 'string';
}
