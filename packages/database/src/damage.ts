import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { isSqliteError } from './database-failure.js';

/** What was found wrong with the content of a database file; unlike a lock or a full disk, it stays. */
class DamagedFileError extends Error {
  override readonly name = 'DamagedFileError';
}

/** The file itself, and what SQLite keeps beside it. */
const PARTS = ['-wal', '-shm', ''];
const KEPT_BACKUPS = 10;

/** Throws a `DamagedFileError`, or SQLite's own error, unless every page and index of the file is whole. */
export function requireIntegrity(database: Database.Database): void {
  const finding = database.pragma('integrity_check(1)', { simple: true });
  if (finding !== 'ok') throw new DamagedFileError(String(finding));
}

/** Whether an error says that the file is damaged. While it is opened, a schema that is not ours counts as well. */
export function isDamage(error: unknown, whileOpening = false): boolean {
  if (error instanceof DamagedFileError) return true;
  if (!isSqliteError(error)) return false;
  return /^SQLITE_(CORRUPT|NOTADB)/.test(error.code) || (whileOpening && error.code === 'SQLITE_ERROR');
}

/**
 * Moves a database that nobody has open to `<file>.corrupt.backup` and returns that path. A backup that is there already
 * gets a number; of more than ten, the one without a number is replaced. File system errors pass.
 */
export function setAside(file: string): string {
  const backup = `${file}.corrupt.backup`;
  if (existsSync(backup)) {
    const numbers = Array.from({ length: KEPT_BACKUPS - 1 }, (_, index) => index + 1);
    const free = numbers.find((number) => !existsSync(`${backup}.${number}`));
    if (free !== undefined) move(backup, `${backup}.${free}`);
  }
  move(file, backup);
  return backup;
}

/** Number of the file on its disk: whether a path still leads to the same one. */
export function inodeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.ino;
}

/** The file itself comes last: until then a move that was cut short is made again. */
function move(from: string, to: string): void {
  for (const part of PARTS) {
    rmSync(to + part, { force: true });
    if (existsSync(from + part)) renameSync(from + part, to + part);
  }
}
