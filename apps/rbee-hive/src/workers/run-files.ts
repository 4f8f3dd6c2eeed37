import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ProcessIdentity, type Secret, writeSecretFile } from '@rbee/daemon-kit';

/** What a hive leaves on disk about a worker, so that a later hive can tell whose process it was. */
export interface WorkerRecord {
  workerId: string;
  modelRef: string;
  port: number;
  process: ProcessIdentity;
  /** The hive that started it. */
  hive: ProcessIdentity;
}

/** The files of running workers, in a folder that only the user can read: `<id>.key` and `<id>.json`. */
export class RunFiles {
  constructor(private readonly folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  keyFile(workerId: string): string {
    return join(this.folder, `${workerId}.key`);
  }

  writeKey(workerId: string, key: Secret): void {
    writeSecretFile(this.keyFile(workerId), key);
  }

  writeRecord(record: WorkerRecord): void {
    const path = this.recordFile(record.workerId);
    // Renamed into place, so that a hive killed in this moment leaves a whole record or none.
    writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  remove(workerId: string): void {
    for (const path of [this.keyFile(workerId), this.recordFile(workerId)]) rmSync(path, { force: true });
  }

  /** The records of all workers, of this hive and of others; an unreadable one is left out and removed. */
  readRecords(): WorkerRecord[] {
    const files = readdirSync(this.folder);
    return files
      .filter((file) => file.endsWith('.json'))
      .flatMap((file) => {
        const record = parseRecord(readFileSync(join(this.folder, file), 'utf8'));
        if (record === undefined) rmSync(join(this.folder, file), { force: true });
        return record ?? [];
      });
  }

  private recordFile(workerId: string): string {
    return join(this.folder, `${workerId}.json`);
  }
}

function parseRecord(text: string): WorkerRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<WorkerRecord> | null;
    const whole = typeof record?.workerId === 'string' && isIdentity(record.process) && isIdentity(record.hive);
    return whole ? (record as WorkerRecord) : undefined;
  } catch {
    return undefined;
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  const identity = value as Partial<ProcessIdentity> | null | undefined;
  return Number.isInteger(identity?.pid) && Number(identity?.pid) > 1 && typeof identity?.startTime === 'string';
}
