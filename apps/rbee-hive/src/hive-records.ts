import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, makeStateFolder, type ProcessIdentity } from '@rbee/daemon-kit';

/** A hive or a worker of this user, or another process that must not lose its files, and the installation that it runs from. */
export interface HiveRecord extends ProcessIdentity {
  /** Folder of the installation, symbolic links resolved. */
  readonly installation: string;
}

/** Notes of the processes that run, so that nobody removes an installation under one of them. */
export class HiveRecords {
  constructor(private readonly folder: string) {}

  /** Notes a process; the returned function takes the note away. What killed processes left behind goes as well. */
  write(hive: HiveRecord): () => void {
    makeStateFolder(this.folder);
    this.removeStale();
    const path = join(this.folder, `${hive.pid}.json`);
    const { pid, startTime, installation } = hive;
    writeFileSync(path, JSON.stringify({ pid, startTime, installation }), { mode: 0o600 });
    return () => rmSync(path, { force: true });
  }

  /** Those that run now. */
  running(): HiveRecord[] {
    return this.names()
      .flatMap((name) => parseRecord(join(this.folder, name)) ?? [])
      .filter(isRunning);
  }

  /** A note that cannot be read may be one that another process is just writing: it stays. */
  private removeStale(): void {
    for (const name of this.names()) {
      const path = join(this.folder, name);
      const record = parseRecord(path);
      if (record && !isRunning(record)) rmSync(path, { force: true });
    }
  }

  private names(): string[] {
    try {
      return readdirSync(this.folder).filter((name) => name.endsWith('.json'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }
}

function parseRecord(path: string): HiveRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as Partial<HiveRecord> | null;
    const { pid, startTime, installation } = record ?? {};
    const whole = Number.isInteger(pid) && typeof startTime === 'string' && typeof installation === 'string';
    return whole ? (record as HiveRecord) : undefined;
  } catch {
    return undefined;
  }
}
