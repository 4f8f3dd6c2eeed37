import type { OptionTable, OptionValues } from './command.js';

/** Flags that every command has. */
export const globalOptions = {
  'queen-url': {
    type: 'string',
    value: 'URL',
    describe: 'Queen to use (RBEE_QUEEN_URL; default http://127.0.0.1:8080)',
  },
  config: {
    type: 'string',
    value: 'FILE',
    describe: 'Configuration file (RBEE_CONFIG; default ~/.config/rbee/config.toml)',
  },
  'no-spawn': { type: 'boolean', describe: 'Never start a queen: fail when none answers' },
  json: { type: 'boolean', describe: 'Print JSON on standard output, errors included' },
  'no-color': { type: 'boolean', describe: 'Print without colours (also NO_COLOR)' },
  verbose: { type: 'boolean', describe: 'Tell more, and show where an error came from' },
  help: { type: 'boolean', describe: 'Show this help' },
  version: { type: 'boolean', describe: 'Show the version' },
} as const satisfies OptionTable;

export type GlobalOptions = OptionValues<typeof globalOptions>;
