import {
  createLogger,
  type Environment,
  Hangups,
  type Logger,
  processEnvironment,
  runUntilEnded,
  terminalLog,
} from '@rbee/daemon-kit';
import { type RbeeError, toRbeeError, VERSION } from '@rbee/protocol';
import { WorkerApp } from './app.js';
import { readArguments, USAGE } from './arguments.js';
import { readSettings, type SettingFlags, type WorkerSettings } from './config.js';
import { PipeWriter } from './pipe-writer.js';
import { testEngine } from './self-test.js';

const USAGE_ERROR = 2;

async function main(environment: Environment): Promise<number> {
  const invocation = readArguments(environment.args);
  switch (invocation.kind) {
    case 'help':
      environment.stdout.write(USAGE);
      return 0;
    case 'version':
      environment.stdout.write(`llm-worker-rbee ${VERSION}\n`);
      return 0;
    case 'self_test': {
      const result = await testEngine(environment.clock);
      environment.stdout.write(`${JSON.stringify(result)}\n`);
      return result.ok ? 0 : 1;
    }
    case 'usage_error':
      environment.stderr.write(
        `[llm-worker-rbee] Error: ${invocation.message}\n\nUsage: llm-worker-rbee [options]\nHelp:  llm-worker-rbee --help\n`,
      );
      return USAGE_ERROR;
    case 'run':
      return await run(environment, invocation.flags);
  }
}

async function run(environment: Environment, flags: SettingFlags): Promise<number> {
  const { clock } = environment;
  const hangups = new Hangups(process, clock);
  try {
    const settings = readSettings(environment, flags);
    selectDevice(settings);
    const destinations = [terminalLog(environment.stderr)];
    const log = createLogger({ service: 'llm-worker-rbee', level: settings.logLevel, destinations });
    const output = narrationOutput(environment.stdout, log);
    const threadPoolSize = environment.variables.UV_THREADPOOL_SIZE;
    const app = await WorkerApp.start({ environment, settings, log, output, pid: process.pid, threadPoolSize });
    const { drain, kill } = settings.timeouts;
    // All else that a worker goes by is on its command line, and stays as it is.
    const onHangup = { hangups, run: () => void settings.keyFile?.reload(log) };
    const running = runUntilEnded(app, { signals: process, clock, deadlineMs: drain + kill, log, onHangup });
    const exitCode = await Promise.race([running, untilCrash(log)]);
    if (await app.abandon()) return exitCode;
    log.error({ exit_code: exitCode }, 'the engine does not come back from what it does: this process kills itself');
    process.kill(process.pid, 'SIGKILL');
    return exitCode;
  } catch (error) {
    environment.stderr.write(describe(toRbeeError(error), error));
    return 1;
  }
}

/** Resolves to the exit code when something is thrown that nobody catches. The process can't be relied on after that. */
function untilCrash(log: Logger): Promise<number> {
  return new Promise((resolve) => {
    process.on('uncaughtException', (error) => {
      log.error({ error }, `the worker has failed and ends: ${error instanceof Error ? error.message : String(error)}`);
      resolve(1);
    });
  });
}

/** Narration is for the hive that reads this process's output; on a terminal the log says the same. */
function narrationOutput(stdout: NodeJS.WriteStream, log: Logger): { write(line: string): void } {
  if (stdout.isTTY) return { write: () => undefined };
  return new PipeWriter(stdout, (error) => log.warn({ error }, 'nobody reads the narration any more'));
}

/** The driver shows the process only the device that was asked for; a hive has set this already. */
function selectDevice({ backend, device }: WorkerSettings): void {
  if (backend === 'cuda') {
    process.env.CUDA_DEVICE_ORDER ??= 'PCI_BUS_ID';
    process.env.CUDA_VISIBLE_DEVICES ??= String(device);
  }
  if (backend === 'vulkan') process.env.GGML_VK_VISIBLE_DEVICES ??= String(device);
}

function describe(error: RbeeError, thrown: unknown): string {
  if (error.code === 'INTERNAL_ERROR')
    return `[llm-worker-rbee] Error: ${thrown instanceof Error ? thrown.stack : String(thrown)}\n`;
  return `[llm-worker-rbee] Error: ${error.message} (${error.code})\n${error.suggestion ? `\n  ${error.suggestion}\n` : ''}`;
}

process.exit(await main(processEnvironment()));
