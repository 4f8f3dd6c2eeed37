import { parseArgs } from 'node:util';
import { type Environment, runUntilEnded, type SignalSource } from '@rbee/daemon-kit';
import { type RbeeError, toRbeeError, VERSION } from '@rbee/protocol';
import type { HiveInstallation } from './app.js';
import { type HiveFlags, loadHiveConfig } from './config.js';
import { renderDetection, toDetection } from './probe/detection.js';
import { MachineProbe } from './probe/machine-probe.js';

const USAGE = `rbee-hive: looks after the models and workers of one machine

Usage:
  rbee-hive daemon [options]     run the hive
  rbee-hive detect [--json]      show which backends and devices this machine has

Options of daemon:
  --port <n>          port to listen on (default 9200)
  --host <address>    address to listen on (default 127.0.0.1)
  --addr <host:port>  both in one
  --owned             end when the queen that started this hive is gone
  --config <file>     configuration file (default ~/.config/rbee/config.toml)

  --version           show the version
  --help              show this text
`;

const SHORT_USAGE = `Usage: rbee-hive daemon [options], or rbee-hive detect [--json]
Help:  rbee-hive --help
`;

/** The whole shutdown has its own limit; this is for what comes after it. */
const AFTER_SHUTDOWN_MS = 10_000;

const OPTIONS = {
  port: { type: 'string' },
  host: { type: 'string' },
  addr: { type: 'string' },
  owned: { type: 'boolean' },
  config: { type: 'string' },
  json: { type: 'boolean' },
  version: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/**
 * Runs the command line and resolves with the exit code: 0 success, 1 failure, 2 a usage error. `installation` is what
 * the hive is built from; without it the one that this program belongs to.
 */
export async function runCli(
  environment: Environment,
  signals: SignalSource,
  installation?: HiveInstallation,
): Promise<number> {
  const parsed = parseCommandLine(environment.args);
  if ('problem' in parsed) {
    environment.stderr.write(`[rbee-hive] Error: ${parsed.problem}\n\n${SHORT_USAGE}`);
    return 2;
  }
  const { command, flags } = parsed;
  if (flags.version || flags.help) {
    environment.stdout.write(flags.version ? `${VERSION}\n` : USAGE);
    return 0;
  }
  try {
    if (command === 'detect') return await detect(environment, flags);
    return await runDaemon(environment, signals, flags, installation);
  } catch (error) {
    environment.stderr.write(renderError(toRbeeError(error)));
    return 1;
  }
}

function parseCommandLine(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    const [command, ...rest] = positionals;
    if (values.version || values.help) return { command, flags: values };
    if (command === undefined) return { problem: 'a command is missing' };
    if (command !== 'daemon' && command !== 'detect') return { problem: `there is no command "${command}"` };
    if (rest.length > 0) return { problem: `"${rest[0]}" is one word too many` };
    return { command, flags: values };
  } catch (error) {
    // What follows the first sentence is about positional arguments that begin with a dash.
    return { problem: (error as Error).message.split('. ')[0] };
  }
}

async function runDaemon(
  environment: Environment,
  signals: SignalSource,
  flags: HiveFlags,
  installation: HiveInstallation | undefined,
): Promise<number> {
  const config = loadHiveConfig(environment, flags);
  // The other commands do without the server and the database.
  const { createHive } = await import('./app.js');
  const hive = await createHive(environment, config, installation);
  // Standard output may be a file on a disk that is full.
  environment.stdout.on('error', (error) => hive.log.warn({ error }, 'standard output cannot be written'));
  environment.stdout.write(`rbee-hive ${VERSION} listens on ${hive.url}\n`);
  const deadlineMs = config.timeouts.hive_shutdown + AFTER_SHUTDOWN_MS;
  return runUntilEnded(hive, { signals, clock: environment.clock, deadlineMs, log: hive.log });
}

async function detect(environment: Environment, flags: HiveFlags & { json?: boolean | undefined }): Promise<number> {
  const { modelsDir, probeFile } = loadHiveConfig(environment, flags);
  const probe = new MachineProbe({ platform: environment.platform, modelsDir, probeFile });
  const detection = toDetection((await probe.snapshot()).backends);
  environment.stdout.write(flags.json ? `${JSON.stringify(detection)}\n` : renderDetection(detection));
  return 0;
}

/** What happened, its facts, and what to do; the stack of an unforeseen error goes to the terminal as well. */
function renderError(error: RbeeError): string {
  const { cause, code, message, suggestion } = error;
  const stack = code === 'INTERNAL_ERROR' && cause instanceof Error ? `\n${cause.stack}\n` : '';
  return `[rbee-hive] Error: ${message}\n${suggestion ? `\n  ${suggestion}\n` : ''}${stack}`;
}
