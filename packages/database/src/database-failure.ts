import { type ErrorCode, isRbeeError, RbeeError } from '@rbee/protocol';
import { isBindingError } from './binding-error.js';
import { NewerSchemaError } from './migrate.js';

/** How the failure of a database is told to the user. */
export interface DatabaseFailure {
  readonly code: ErrorCode;
  /** What fails, for example `the model catalog`. */
  readonly what: string;
  /** What to do when it goes on failing. */
  readonly suggestion: string;
}

/** By its code: the class is the one of whichever copy of the module loaded the native addon first. */
export function isSqliteError(error: unknown): error is Error & { code: string } {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && code.startsWith('SQLITE_');
}

/** Whether the connection survives the error: a broken rule or a lock is no reason to reopen the file. */
export function isUsable(error: { code: string }): boolean {
  return /^SQLITE_(CONSTRAINT|BUSY|LOCKED)/.test(error.code);
}

/** The error for a database that cannot be opened, whatever the reason. */
export function toOpeningError(failure: DatabaseFailure, cause: unknown): RbeeError {
  if (isBindingError(cause)) return bindingMissing(failure, cause);
  if (cause instanceof NewerSchemaError) return newerSchema(failure, cause);
  if (isSqliteError(cause)) return toUseError(failure, cause);
  // Paths stay on this machine: only what the system calls the fault is told.
  const fault = isRbeeError(cause) ? cause.details.cause : (cause as NodeJS.ErrnoException).code;
  const why = typeof fault === 'string' ? fault : 'its file cannot be opened';
  return failed(failure, why, cause, { cause: fault });
}

/** The error for a query that the database refused. */
export function toUseError(failure: DatabaseFailure, cause: { readonly code: string }): RbeeError {
  return failed(failure, cause.code, cause, { cause: cause.code });
}

/** The error for a database that failed and whose time to be opened again has not come. */
export function toWaitingError(failure: DatabaseFailure): RbeeError {
  return failed(failure, 'it failed a moment ago and is opened again shortly', undefined, {});
}

function failed(
  { code, what, suggestion }: DatabaseFailure,
  why: string,
  cause: unknown,
  details: Record<string, unknown>,
): RbeeError {
  return new RbeeError(code, `${what} can't be used: ${why}`, { details, suggestion, cause });
}

function bindingMissing({ code, what }: DatabaseFailure, cause: Error): RbeeError {
  return new RbeeError(
    code,
    `${what} can't be opened: the SQLite binding (better-sqlite3) is not compiled for Node.js ${process.version}`,
    {
      details: { cause: 'better-sqlite3' },
      suggestion: 'install python3, make and g++, then run in the checkout: npx --yes pnpm@12.21.0 install',
      retryable: false,
      cause,
    },
  );
}

function newerSchema({ code, what }: DatabaseFailure, cause: Error): RbeeError {
  return new RbeeError(code, `${what} can't be opened: ${cause.message}`, {
    details: { cause: 'schema' },
    suggestion: 'install the newest version of rbee again, or restore the backup that belongs to this one',
    retryable: false,
    cause,
  });
}
