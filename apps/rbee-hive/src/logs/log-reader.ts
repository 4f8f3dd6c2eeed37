import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Clock, makeStateFolder, readLastLines } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { workerLogFile } from '../workers/worker-process.js';
import { LineFollower } from './line-follower.js';

export interface LogQuery {
  lines: number;
  follow: boolean;
  worker_id?: string | undefined;
}

/** The writing end of a text answer. */
export interface LogSink {
  /** False when the reader is behind. */
  write(text: string): boolean;
  drained(signal: AbortSignal): Promise<void>;
}

/** Logs of workers that ended long ago are read only by name; this many of the newest are read together. */
const MAX_WORKER_LOGS = 20;

/** The logs of a hive and of its workers, as lines of text. */
export class LogReader {
  constructor(
    private readonly folder: string,
    private readonly hiveLog: string,
    private readonly clock: Clock,
  ) {}

  /**
   * Writes the newest lines, those of several files in the order of their times; with `follow` also what is written from
   * now on, until the signal is aborted. Throws WORKER_NOT_FOUND for a worker that has no log.
   */
  async write(query: LogQuery, sink: LogSink, signal: AbortSignal): Promise<void> {
    const files = query.worker_id === undefined ? await this.allFiles() : [await this.workerFile(query.worker_id)];
    const sizes = await Promise.all(files.map(sizeOf));
    const lines = await Promise.all(files.map((file) => readLastLines(file, query.lines)));
    const newest = query.lines === 0 ? [] : mergeByTime(lines).slice(-query.lines);
    // The first write sends the status line, also when there is nothing to say yet.
    sink.write('');
    for (const line of newest) if (!sink.write(`${line}\n`)) await sink.drained(signal);
    if (query.follow) await this.follow(files, sizes, query.worker_id === undefined, sink, signal);
  }

  private async follow(files: string[], sizes: number[], alsoNew: boolean, sink: LogSink, signal: AbortSignal) {
    const followers = new Map<string, Promise<LineFollower>>();
    let behind = false;
    const write = (line: string) => {
      behind = !sink.write(`${line}\n`);
    };
    const pace = async () => {
      if (behind) await sink.drained(signal);
      behind = false;
    };
    const add = (file: string, from: number) => {
      const follower = LineFollower.start(file, from, this.clock, write, pace);
      followers.set(file, follower);
      // A file that went away between its notice and its opening has no lines to follow.
      follower.catch(() => followers.delete(file));
    };
    files.forEach((file, index) => {
      add(file, sizes[index] ?? 0);
    });
    const watcher = alsoNew ? this.watchForNew((file) => followers.has(file) || add(file, 0)) : undefined;
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    watcher?.close();
    await Promise.allSettled([...followers.values()].map(async (follower) => (await follower).finish()));
  }

  private watchForNew(onFile: (file: string) => void): FSWatcher {
    makeStateFolder(this.folder);
    const watcher = watch(this.folder, (_event, name) => {
      if (name !== null && isWorkerLog(name)) onFile(join(this.folder, name));
    });
    watcher.unref();
    return watcher;
  }

  private async allFiles(): Promise<string[]> {
    const names = await readdir(this.folder).catch(noneWhenMissing<string[]>([]));
    const logs = await Promise.all(
      names.filter(isWorkerLog).map(async (name) => ({ name, at: await changedAt(join(this.folder, name)) })),
    );
    const newest = logs.sort((a, b) => b.at - a.at).slice(0, MAX_WORKER_LOGS);
    return [this.hiveLog, ...newest.map(({ name }) => join(this.folder, name))];
  }

  private async workerFile(workerId: string): Promise<string> {
    const file = workerLogFile(this.folder, workerId);
    const present = await stat(file).then(
      () => true,
      () => false,
    );
    if (present) return file;
    throw new RbeeError('WORKER_NOT_FOUND', `there is no log of a worker ${workerId}`, {
      details: { worker_id: workerId },
      suggestion: 'leave the worker out to see all logs of the node: rbee-keeper logs --node localhost',
    });
  }
}

/** Logs may be cleared away while they are read: what has gone has no lines. */
function noneWhenMissing<T>(none: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return none;
    throw error;
  };
}

const sizeOf = (file: string) => stat(file).then(({ size }) => size, noneWhenMissing(0));
const changedAt = (file: string) => stat(file).then(({ mtimeMs }) => mtimeMs, noneWhenMissing(0));

function isWorkerLog(name: string): boolean {
  return /^worker-[\w-]+\.log$/.test(basename(name));
}

/** One sequence of lines in the order of their `time`; a line without one stays behind the line it followed. */
export function mergeByTime(files: readonly (readonly string[])[]): string[] {
  const stamped = files.flatMap((lines) => {
    let time = '';
    return lines.map((line) => {
      time = /"time":"([^"]+)"/.exec(line)?.[1] ?? time;
      return { line, time };
    });
  });
  return stamped.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).map(({ line }) => line);
}
