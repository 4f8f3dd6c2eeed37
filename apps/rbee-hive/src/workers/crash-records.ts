import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Logger, makeStateFolder } from '@rbee/daemon-kit';
import type { WorkerCrash } from './worker-failures.js';

const KEPT_RECORDS = 200;

/** `crashes.jsonl` beside the logs: the newest crashes of workers, one JSON object a line, oldest first. */
export class CrashRecords {
  private readonly file: string;

  constructor(
    private readonly folder: string,
    private readonly log: Logger,
  ) {
    this.file = join(folder, 'crashes.jsonl');
  }

  /** A record that cannot be written costs nothing else: the log tells of the crash as well. */
  add(crash: WorkerCrash): void {
    try {
      makeStateFolder(this.folder);
      const lines = existsSync(this.file) ? readFileSync(this.file, 'utf8').split('\n').filter(Boolean) : [];
      const kept = [...lines, JSON.stringify(crash)].slice(-KEPT_RECORDS);
      // Renamed into place, so that a full disk or a kill leaves the records there were.
      writeFileSync(`${this.file}.new`, `${kept.join('\n')}\n`, { mode: 0o600 });
      renameSync(`${this.file}.new`, this.file);
    } catch (error) {
      this.log.warn({ error, worker_id: crash.worker_id }, 'the record of a crash could not be written');
    }
  }
}
