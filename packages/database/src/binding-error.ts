/** Whether the native part of better-sqlite3 is missing, or was compiled for another version of Node.js. */
export function isBindingError(error: unknown): error is Error {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === 'ERR_DLOPEN_FAILED' || /could not locate the bindings file/i.test(String(message));
}
