import { parseArgs } from 'node:util';
import type { SettingFlags } from './config.js';

export const USAGE = `Usage: queen-rbee [daemon] [options]

Runs the orchestrator: takes tasks, places them on workers and passes the tokens on.

Options:
      --host <address>     address to listen on (default 127.0.0.1)
  -p, --port <port>        port to listen on (default 8080, or RBEE_QUEEN_PORT)
  -d, --database <file>    node registry (default ~/.rbee/beehives.db)
  -c, --config <file>      configuration file (default ~/.config/rbee/config.toml)
      --ephemeral          end with the last client and task
      --keep-alive <time>  with --ephemeral: stay this long after the last client, for example 10m (default 0)
      --version            print the version
  -h, --help               print this help

Example:
  queen-rbee daemon --port 8080
`;

/** What the command line asks for. */
export type Invocation =
  /** `copy` is for the queen's own use: see `copyCommand`. */
  | { readonly kind: 'help' | 'version' | 'copy' }
  | { readonly kind: 'usage_error'; readonly message: string }
  | { readonly kind: 'run'; readonly flags: SettingFlags };

/** Reads the command line; unknown flags and arguments are usage errors. */
export function readArguments(args: readonly string[]): Invocation {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    return { kind: 'usage_error', message: message.split('. ')[0] ?? message };
  }
  const { values, positionals } = parsed;
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  if (positionals.length === 1 && positionals[0] === 'copy') return { kind: 'copy' };
  const unknown = positionals[0] === 'daemon' ? positionals[1] : positionals[0];
  if (unknown !== undefined) return { kind: 'usage_error', message: `Unknown command '${unknown}'` };
  const { host, port, database, config, ephemeral } = values;
  return { kind: 'run', flags: { host, port, database, config, ephemeral, keepAlive: values['keep-alive'] } };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: true,
    options: {
      host: { type: 'string' },
      port: { type: 'string', short: 'p' },
      database: { type: 'string', short: 'd' },
      config: { type: 'string', short: 'c' },
      ephemeral: { type: 'boolean' },
      'keep-alive': { type: 'string' },
      version: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
}
