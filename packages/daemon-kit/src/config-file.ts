import { RbeeError } from '@rbee/protocol';
import { parse as parseToml } from 'smol-toml';

/** Reads the text of a TOML file. Throws CONFIG_INVALID with the position when it is not TOML. */
export function parseConfigFile(name: string, text: string): Record<string, unknown> {
  try {
    return parseToml(text);
  } catch (cause) {
    throw toTomlError(name, cause as Error);
  }
}

/**
 * The parser's message ends in an excerpt of the file, which may hold a key: only its first line is shown, and its error is
 * not kept as the cause, which a log or a trace would print.
 */
function toTomlError(name: string, cause: Error & { line?: number; column?: number }): RbeeError {
  const { line, column } = cause;
  const where = line === undefined ? '' : `, line ${line}`;
  const why = cause.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '');
  return new RbeeError('CONFIG_INVALID', `${name} is not valid TOML${where}: ${why}`, {
    details: { file: name, ...(line === undefined ? {} : { line, column }) },
    suggestion: `correct or remove ${name}`,
  });
}
