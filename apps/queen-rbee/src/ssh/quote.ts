import { RbeeError } from '@rbee/protocol';

/**
 * Values as words of /bin/sh that mean exactly themselves, whatever they hold. The only place where a value becomes part
 * of a shell's text. Throws INVALID_REQUEST for a NUL, which no argument of a program can hold.
 */
export function shellWords(values: readonly string[]): string {
  return values.map(quote).join(' ');
}

function quote(value: string): string {
  if (value.includes('\0')) {
    throw new RbeeError('INVALID_REQUEST', 'an argument of a remote command holds a NUL character', {
      details: { reason: 'null_byte' },
    });
  }
  // Within single quotes nothing is special but the quote itself.
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** The program that reads our texts, named alone: any login shell, also one with another syntax, can start it. */
export const REMOTE_SHELL = '/bin/sh';

/** Begins the line on standard error in which a script tells its process id before anything else. */
const PID_PREFIX = 'rbee-script-pid:';

/**
 * What is written to the standard input of REMOTE_SHELL to run a script with its arguments as "$1", "$2" and so on. The
 * braces let the shell read the whole script before it runs any of it, and give its commands an empty standard input.
 */
export function shellInput(script: string, args: readonly string[]): string {
  return `set -- ${shellWords(args)}\n{ echo "${PID_PREFIX}$$" >&2\n${script}\n} </dev/null\n`;
}

/** The process id in a line of standard error, if it is the line that tells it. */
export function readScriptPid(line: string): number | undefined {
  return line.startsWith(PID_PREFIX) ? Number(line.slice(PID_PREFIX.length)) : undefined;
}
