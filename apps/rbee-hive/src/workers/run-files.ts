import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeStateFolder, type ProcessIdentity, readSecretFile, type Secret, writeSecretFile } from '@rbee/daemon-kit';
import { type Backend, backendSchema, RbeeError } from '@rbee/protocol';

/** What a hive leaves on disk about a worker, so that a later hive can tell whose process it was. */
export interface WorkerRecord {
  workerId: string;
  modelRef: string;
  port: number;
  process: ProcessIdentity;
  /** The hive that looks after it. */
  hive: ProcessIdentity;
  /** What another hive needs to take the worker over; a record of an older version lacks it. */
  takeover?: WorkerTakeover | undefined;
}

/** Everything about a worker that its process does not tell. */
export interface WorkerTakeover {
  url: string;
  /** Row of its model in the catalog. */
  modelId: string;
  modelPath: string;
  backend: Backend;
  device: number;
  /** As they were asked for; left out: the worker's own choice. */
  slots?: number | undefined;
  contextSize?: number | undefined;
  pinned: boolean;
  /** Folder of the installation that it runs from; left out: not known. */
  installation?: string | undefined;
}

/** The files of running workers, in a folder that only the user can read: `<id>.key` and `<id>.json`. */
export class RunFiles {
  constructor(private readonly folder: string) {
    makeStateFolder(folder);
  }

  keyFile(workerId: string): string {
    return join(this.folder, `${workerId}.key`);
  }

  /** Throws WORKER_SPAWN_FAILED when the file cannot be written, for example on a full disk. */
  writeKey(workerId: string, key: Secret): void {
    this.write(() => writeSecretFile(this.keyFile(workerId), key));
  }

  /** The key of a worker that is there already. Throws CONFIG_INVALID when its file is missing or open to others. */
  readKey(workerId: string): Secret {
    return readSecretFile(this.keyFile(workerId));
  }

  /** The record of one worker, as it stands now. */
  readRecord(workerId: string): WorkerRecord | undefined {
    try {
      return parseRecord(readFileSync(this.recordFile(workerId), 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Throws as `writeKey`. */
  writeRecord(record: WorkerRecord): void {
    const path = this.recordFile(record.workerId);
    this.write(() => {
      // Renamed into place, so that a hive killed in this moment leaves a whole record or none.
      writeFileSync(`${path}.new`, `${JSON.stringify(record)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    });
  }

  remove(workerId: string): void {
    const record = this.recordFile(workerId);
    for (const path of [this.keyFile(workerId), record, `${record}.new`])
      if (existsSync(path)) rmSync(path, { force: true });
  }

  /** The records of all workers, of this hive and of others; an unreadable one is left out and removed. */
  readRecords(): WorkerRecord[] {
    if (!existsSync(this.folder)) return [];
    return readdirSync(this.folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
      .flatMap(({ name: file }) => {
        const record = parseRecord(readFileSync(join(this.folder, file), 'utf8'));
        if (record === undefined) rmSync(join(this.folder, file), { force: true });
        return record ?? [];
      });
  }

  /** Removes what hives left that were killed in the moment in which they started a worker: key files without a record. */
  removeStrays(olderThan: number): void {
    if (!existsSync(this.folder)) return;
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      const stray = name.endsWith('.new') || (name.endsWith('.key') && !existsSync(path.replace(/key$/, 'json')));
      // Another hive may be starting a worker just now.
      const { mtimeMs = olderThan } = statSync(path, { throwIfNoEntry: false }) ?? {};
      if (stray && mtimeMs < olderThan) rmSync(path, { force: true });
    }
  }

  /** Someone may have removed the folder while the hive runs. */
  private write(put: () => void): void {
    makeStateFolder(this.folder);
    try {
      put();
    } catch (cause) {
      throw toWriteError(this.folder, cause as NodeJS.ErrnoException);
    }
  }

  private recordFile(workerId: string): string {
    return join(this.folder, `${workerId}.json`);
  }
}

function toWriteError(folder: string, cause: NodeJS.ErrnoException): RbeeError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  const why = full ? 'the disk is full' : (cause.code ?? 'unknown cause');
  return new RbeeError('WORKER_SPAWN_FAILED', `a worker's files cannot be written to ${folder}: ${why}`, {
    details: { folder, cause: cause.code },
    suggestion: full
      ? `free some space (df -h ${folder} shows how much there is), then repeat the command`
      : `give the user of the hive write permission on ${folder}, then repeat the command`,
    cause,
  });
}

function parseRecord(text: string): WorkerRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<WorkerRecord> | null;
    if (typeof record?.workerId !== 'string' || !isIdentity(record.process) || !isIdentity(record.hive))
      return undefined;
    // Without what another hive needs to take it over, the worker can still be ended.
    return { ...(record as WorkerRecord), takeover: isTakeover(record.takeover) ? record.takeover : undefined };
  } catch {
    return undefined;
  }
}

function isIdentity(value: unknown): value is ProcessIdentity {
  const identity = value as Partial<ProcessIdentity> | null | undefined;
  return Number.isInteger(identity?.pid) && Number(identity?.pid) > 1 && typeof identity?.startTime === 'string';
}

function isTakeover(value: unknown): value is WorkerTakeover {
  const { url, modelId, modelPath, backend, device, slots, contextSize, pinned, installation } = (value ??
    {}) as Partial<WorkerTakeover>;
  const texts = [url, modelId, modelPath].every((text) => typeof text === 'string') && URL.canParse(url ?? '');
  const known = installation === undefined || typeof installation === 'string';
  const counts = [slots, contextSize].every((count) => count === undefined || Number.isInteger(count));
  return (
    texts &&
    counts &&
    known &&
    Number.isInteger(device) &&
    typeof pinned === 'boolean' &&
    backendSchema.safeParse(backend).success
  );
}
