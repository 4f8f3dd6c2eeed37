import { userInfo } from 'node:os';
import { join } from 'node:path';
import {
  createLogger,
  type Environment,
  Hangups,
  LogFile,
  makeStateFolder,
  processEnvironment,
  runUntilEnded,
  tellLoad,
  terminalLog,
} from '@rbee/daemon-kit';
import { isRbeeError, RbeeError, VERSION } from '@rbee/protocol';
import { startQueen } from './app.js';
import { readArguments, USAGE } from './arguments.js';
import { openConfiguration, type SettingFlags } from './config.js';
import { copyCommand } from './copy/copy-command.js';
import { copyInProcess } from './copy/copy-process.js';
import { INSTALLATION } from './installation.js';

/** Time for a shutdown beyond the waiting for hives: cancelled tasks and open answers. */
const SHUTDOWN_MARGIN_MS = 10_000;

async function main(environment: Environment): Promise<number> {
  const { stdout, stderr } = environment;
  const invocation = readArguments(environment.args);
  switch (invocation.kind) {
    case 'help':
      stdout.write(USAGE);
      return 0;
    case 'version':
      stdout.write(`queen-rbee ${VERSION}\n`);
      return 0;
    case 'usage_error':
      stderr.write(
        `[queen-rbee] Error: ${invocation.message}\n\nUsage: queen-rbee [daemon] [options]\nHelp:  queen-rbee --help\n`,
      );
      return 2;
    case 'copy':
      return copyCommand(environment);
    case 'run':
      return run(environment, invocation.flags);
  }
}

async function run(environment: Environment, flags: SettingFlags): Promise<number> {
  const { clock, variables, stdout, stderr } = environment;
  // Ahead of everything: a hangup while the queen starts is kept until she runs.
  const hangups = new Hangups(process, clock);
  const { settings, live, key } = openConfiguration(environment, flags);
  const { timeouts } = settings;
  makeStateFolder(settings.logDir);
  const file = openLogFile(join(settings.logDir, 'queen-rbee.log'));
  const destinations = settings.silent ? [file] : [terminalLog(stderr), file];
  const service = 'queen-rbee';
  const log = createLogger({ service, level: () => settings.logLevel, destinations });
  try {
    tellLoad(live.loaded, { service, log });
    const hiveLauncher = join(INSTALLATION, 'apps/rbee-hive/bin/rbee-hive.js');
    const hiveProgram = { command: process.execPath, args: [hiveLauncher] };
    const launcher = join(INSTALLATION, 'apps/queen-rbee/bin/queen-rbee.js');
    const runCopy = copyInProcess({ command: process.execPath, args: [launcher, 'copy'], variables });
    const { home } = environment;
    const user = userInfo().username;
    const parts = { settings, key, clock, log, pid: process.pid, home, user, variables, hiveProgram, runCopy };
    const queen = await startQueen(parts);
    // Standard output may be a file on a disk that is full.
    stdout.on('error', (error) => log.warn({ error }, 'standard output cannot be written'));
    log.info({ url: queen.url, version: VERSION, pid: process.pid, ephemeral: settings.ephemeral }, 'listening');
    stdout.write(`queen-rbee listening on ${queen.url}\n`);
    live.onChanged(() => queen.noteSettings());
    const onHangup = () => {
      file.reopen();
      const report = live.reload();
      tellLoad(report, { service, log });
      if (!report.error) key?.reload(log);
      queen.reloadHive();
    };
    return await runUntilEnded(queen, {
      ...{ signals: process, clock, log },
      get deadlineMs() {
        return timeouts.queen_waits_for_hives + timeouts.cancel_ack + SHUTDOWN_MARGIN_MS;
      },
      onHangup: { hangups, run: onHangup },
    });
  } catch (error) {
    log.error({ error }, 'the queen could not start');
    throw error;
  } finally {
    key?.close();
    file.close();
  }
}

function openLogFile(path: string): LogFile {
  try {
    return new LogFile(path);
  } catch (cause) {
    throw toLogFileError(path, cause);
  }
}

function toLogFileError(path: string, cause: unknown): RbeeError {
  const { code } = cause as NodeJS.ErrnoException;
  return new RbeeError('CONFIG_INVALID', `the log file ${path} cannot be written (${code ?? 'unknown cause'})`, {
    suggestion: 'give this user write permission on it, or choose another folder with RBEE_LOG_DIR',
    cause,
  });
}

/** What went wrong and what to do next; a stack only for what nobody foresaw. */
function report(error: unknown): number {
  const text = isRbeeError(error)
    ? `[queen-rbee] Error: ${error.message}${error.suggestion ? `\n\n  ${error.suggestion}` : ''}`
    : `[queen-rbee] Error: ${error instanceof Error ? error.stack : String(error)}`;
  process.stderr.write(`${text}\n`);
  return 1;
}

process.exit(await main(processEnvironment()).catch(report));
