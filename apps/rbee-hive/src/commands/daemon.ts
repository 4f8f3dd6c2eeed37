import { resolve } from 'node:path';
import { type Environment, Hangups, runUntilEnded } from '@rbee/daemon-kit';
import { VERSION } from '@rbee/protocol';
import { type HiveFlags, loadHiveConfig } from '../config.js';
import { startDetached } from '../detached-daemon.js';
import { type CommandContext, defineCommand, printJson } from './command.js';

/** The whole shutdown has its own limit; this is for what comes after it. */
const AFTER_SHUTDOWN_MS = 10_000;

export const daemon = defineCommand({
  name: 'daemon',
  usage: 'daemon [--port <n>] [--host <address>] [--addr <host:port>] [--owned] [--detach] [--config <file>]',
  options: {
    port: { type: 'string' },
    host: { type: 'string' },
    addr: { type: 'string' },
    owned: { type: 'boolean' },
    config: { type: 'string' },
    detach: { type: 'boolean' },
  },
  run({ detach, ...flags }, context) {
    return detach ? leaveBehind(context.environment, flags) : runHive(flags, context);
  },
});

async function runHive(flags: HiveFlags, { environment, signals, installation }: CommandContext): Promise<number> {
  const { clock, stdout } = environment;
  const hangups = new Hangups(signals, clock);
  try {
    const config = loadHiveConfig(environment, flags);
    // The other commands do without the server and the database.
    const { createHive } = await import('../app.js');
    const hive = await createHive(environment, config, installation);
    // Standard output may be a file on a disk that is full.
    stdout.on('error', (error) => hive.log.warn({ error }, 'standard output cannot be written'));
    stdout.write(`rbee-hive ${VERSION} listens on ${hive.url}\n`);
    return await runUntilEnded(hive, {
      ...{ signals, clock, log: hive.log },
      get deadlineMs() {
        return config.timeouts.hive_shutdown + AFTER_SHUTDOWN_MS;
      },
      onHangup: { hangups, run: () => hive.reload() },
    });
  } finally {
    hangups.close();
  }
}

async function leaveBehind(environment: Environment, flags: HiveFlags): Promise<number> {
  // What is wrong with the configuration is said here, not only in the log of a process that nobody watches.
  const { logDir } = loadHiveConfig(environment, flags);
  const { owned, config, ...texts } = flags;
  const args = Object.entries(texts).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));
  if (config !== undefined) args.push(`--config=${resolve(environment.cwd, config)}`);
  if (owned) args.push('--owned');
  const { pid, startTime } = await startDetached(environment, logDir, args);
  printJson(environment, { pid, start_time: startTime });
  return 0;
}
