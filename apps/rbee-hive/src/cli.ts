import { parseArgs } from 'node:util';
import type { Environment, SignalSource } from '@rbee/daemon-kit';
import { type RbeeError, toRbeeError, VERSION } from '@rbee/protocol';
import type { HiveInstallation } from './app.js';
import { type Command, UsageError } from './commands/command.js';
import { daemon } from './commands/daemon.js';
import { detect } from './commands/detect.js';
import { releaseActivate } from './commands/release/activate.js';
import { releaseList } from './commands/release/list.js';
import { selfTest } from './commands/self-test.js';
import { serviceInstall } from './commands/service/install.js';
import { serviceRemove } from './commands/service/remove.js';
import { stop } from './commands/stop.js';
import { THIS_INSTALLATION } from './installation.js';

const COMMANDS: readonly Command[] = [
  daemon,
  stop,
  detect,
  selfTest,
  releaseActivate,
  releaseList,
  serviceInstall,
  serviceRemove,
];

const COMMON = { version: { type: 'boolean' }, help: { type: 'boolean' } } as const;

const USAGE = `rbee-hive: looks after the models and workers of one machine

Usage:
  rbee-hive daemon [options]             run the hive
  rbee-hive stop [options]               end a hive that was started with --detach
  rbee-hive detect [--json]              show which backends and devices this machine has
  rbee-hive self-test                    check that this installation can run here
  rbee-hive release activate [options]   let the node use this release from now on
  rbee-hive release list [options]       show which releases there are
  rbee-hive service install [options]    let the system start the hive with the machine
  rbee-hive service remove               undo that

Options of daemon:
  --port <n>            port to listen on (default 9200)
  --host <address>      address to listen on (default 127.0.0.1)
  --addr <host:port>    both in one
  --owned               end when the queen that started this hive is gone
  --detach              start it in the background, print its pid and start time, and return
  --config <file>       configuration file (default ~/.config/rbee/config.toml)

Options of stop:
  --pid <n>             process to end, and only if it has
  --start-time <text>   this start time; both as --detach printed them
  --grace <time>        how long it may take before it is killed (default 35s)

Options of release:
  --root <folder>       folder that holds releases/ and the link current
  --release <id>        which of them; it must be the one that this program belongs to

Options of service install:
  --port <n>            port of the hive (default: as configured)
  --node <file>         Node.js program that runs it (default: the one that runs this)
  --root <folder>       installation to start (default: the one that this program belongs to)

  --version             show the version
  --help                show this text
`;

/**
 * Runs the command line and resolves with the exit code: 0 success, 1 failure, 2 a usage error. `installation` is what
 * the hive is built from; without it the one that this program belongs to.
 */
export async function runCli(
  environment: Environment,
  signals: SignalSource,
  installation: HiveInstallation = THIS_INSTALLATION,
): Promise<number> {
  let command: Command | undefined;
  try {
    const { values, positionals } = parse(environment.args);
    if ('version' in values || 'help' in values) {
      environment.stdout.write('version' in values ? `${VERSION}\n` : USAGE);
      return 0;
    }
    command = findCommand(positionals);
    refuseForeignOptions(command, values);
    return await command.run(values, { environment, signals, installation });
  } catch (error) {
    if (error instanceof UsageError) {
      environment.stderr.write(renderUsageError(error, command));
      return 2;
    }
    environment.stderr.write(renderError(toRbeeError(error)));
    return 1;
  }
}

/** Options may stand before the command as well, so that which ones there are is not known from the first word on. */
function parse(args: readonly string[]) {
  const options: Command['options'] = Object.assign({}, COMMON, ...COMMANDS.map((command) => command.options));
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    // What follows the first sentence is about positional arguments that begin with a dash.
    throw new UsageError((error as Error).message.split('. ')[0], { cause: error });
  }
}

function findCommand(words: readonly string[]): Command {
  if (words.length === 0) throw new UsageError('a command is missing');
  const typed = words.join(' ');
  const command = COMMANDS.find(({ name }) => typed === name || typed.startsWith(`${name} `));
  if (command === undefined) throw new UsageError(`there is no command "${typed}"`);
  const extra = words[command.name.split(' ').length];
  if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many`);
  return command;
}

function refuseForeignOptions(command: Command, values: object): void {
  const foreign = Object.keys(values).find((name) => !Object.hasOwn(command.options, name));
  if (foreign !== undefined) throw new UsageError(`${command.name} has no option --${foreign}`);
}

function renderUsageError(error: UsageError, command: Command | undefined): string {
  const usage = command?.usage ?? '<command> [options]';
  return `[rbee-hive] Error: ${error.message}\n\nUsage: rbee-hive ${usage}\nHelp:  rbee-hive --help\n`;
}

/** What happened, its facts, and what to do; the stack of an unforeseen error goes to the terminal as well. */
function renderError(error: RbeeError): string {
  const { cause, code, message, suggestion } = error;
  const stack = code === 'INTERNAL_ERROR' && cause instanceof Error ? `\n${cause.stack}\n` : '';
  return `[rbee-hive] Error: ${message}\n${suggestion ? `\n  ${suggestion}\n` : ''}${stack}`;
}
