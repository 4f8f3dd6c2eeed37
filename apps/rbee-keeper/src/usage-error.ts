import type { CommandEntry } from './command-table.js';

/** A command line that cannot be understood: exit code 2. A value that is understood but not allowed is an RbeeError. */
export class UsageError extends Error {
  override readonly name = 'UsageError';

  constructor(
    message: string,
    /** The command that was meant, as far as it was understood. */
    readonly command: CommandEntry | undefined,
    /** What was probably meant, ready to type. */
    readonly suggestion?: string,
  ) {
    super(message);
  }
}

/** The short text for standard error: what is wrong, what was probably meant, how the command is used. */
export function renderUsageError(error: UsageError): string {
  const usage = error.command?.usage ?? '<command> [options]';
  const help = ['rbee-keeper', ...(error.command?.path ?? []), '--help'].join(' ');
  return [
    `[rbee-keeper] Error: ${error.message}`,
    ...(error.suggestion ? ['', `Did you mean ${error.suggestion}?`] : []),
    '',
    `Usage: rbee-keeper ${usage}`,
    `Help:  ${help}`,
    '',
  ].join('\n');
}

/** The same for programs; usage has no code in the catalogue of its own. */
export function usageErrorToJson(error: UsageError): object {
  return {
    error: {
      code: 'INVALID_REQUEST',
      message: error.message,
      details: { usage: true, ...(error.suggestion ? { suggestion: error.suggestion } : {}) },
      retryable: false,
    },
  };
}
