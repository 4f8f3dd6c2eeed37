import { RbeeError } from '@rbee/protocol';
import Database from 'better-sqlite3';

/**
 * Copies a catalog to a file that does not exist yet, with everything that is in its write-ahead log, also while a hive
 * uses it. Throws CATALOG_UNAVAILABLE when it cannot be read or the copy cannot be written.
 */
export async function copyCatalog(file: string, copy: string): Promise<void> {
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { readonly: true, fileMustExist: true });
    await database.backup(copy);
  } catch (cause) {
    throw toCopyError(file, cause as Error & { code?: string });
  } finally {
    database?.close();
  }
}

function toCopyError(file: string, cause: Error & { code?: string }): RbeeError {
  const { code, message } = cause;
  return new RbeeError('CATALOG_UNAVAILABLE', `the catalog ${file} cannot be copied: ${code ?? message}`, {
    details: { cause: code },
    suggestion: 'if it is damaged, move it away: the hive makes a new one and finds its models again',
    cause,
  });
}
