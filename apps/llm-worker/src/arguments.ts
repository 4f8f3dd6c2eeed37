import { parseArgs } from 'node:util';
import type { SettingFlags } from './config.js';

export const USAGE = `Usage: llm-worker-rbee [options]

Loads one model and generates text with it. Started by rbee-hive; by hand it needs no options.

Options:
      --model <file.gguf>     model file (default: the bundled Honeycomb)
      --model-ref <ref>       name under which the model is known (default: from the file)
      --backend <name>        cpu, cuda, metal or vulkan (default cpu); never replaced by another one
      --device <n>            index of the device within the backend (default 0)
      --slots <n>             generations at a time (default 4)
      --ctx <n>               tokens that one slot holds (default: what the model was trained on, at most 4096)
      --host <address>        address to listen on (default 127.0.0.1)
      --port <port>           port to listen on (default 8001)
      --worker-id <id>        id of this worker (default: a new one)
      --callback-url <url>    hive to report to; empty for none (default)
      --api-key-file <file>   file with the key that callers need (mode 0600)
      --api-key <key>         the key itself; every user of the machine can see it, so prefer the file
      --self-test             load the engine for the CPU, print one line of JSON about it, and end
      --version               print the version
  -h, --help                  print this help

The process should run with UV_THREADPOOL_SIZE=1: with more, generation is up to three times slower.

Example:
  UV_THREADPOOL_SIZE=1 llm-worker-rbee --model ./tiny.gguf --port 8001
`;

/** What the command line asks for. */
export type Invocation =
  | { readonly kind: 'help' | 'version' | 'self_test' }
  | { readonly kind: 'usage_error'; readonly message: string }
  | { readonly kind: 'run'; readonly flags: SettingFlags };

const TEXT_OPTIONS = [
  'worker-id',
  'model',
  'model-ref',
  'backend',
  'device',
  'port',
  'host',
  'callback-url',
  'api-key-file',
  'api-key',
  'slots',
  'ctx',
] as const;

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
  const { help, version, 'self-test': selfTest, ...texts } = parsed;
  if (help) return { kind: 'help' };
  if (version) return { kind: 'version' };
  if (selfTest) return { kind: 'self_test' };
  const flags = Object.entries(texts).map(([name, value]) => [toCamelCase(name), value]);
  return { kind: 'run', flags: Object.fromEntries(flags) as SettingFlags };
}

function parse(args: readonly string[]) {
  const texts = Object.fromEntries(TEXT_OPTIONS.map((name) => [name, { type: 'string' as const }]));
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      ...texts,
      'self-test': { type: 'boolean' },
      version: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  return values;
}

function toCamelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
}
