import { closeSync, fstatSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  type Exit,
  endProcess,
  makeStateFolder,
  type ProcessIdentity,
  type StartedProcess,
  sleep,
  startProcess,
} from '@rbee/daemon-kit/client';
import { RbeeError } from '@rbee/protocol';
import { readOutputSince } from './output-since.js';
import { probeQueen, type QueenHealth } from './probe-queen.js';
import type { QueenControl, QueenSurroundings } from './queen-control.js';

const FIRST_POLL_MS = 20;
const POLL_MS = 100;
const OUTPUT_LINES = 10;
/** How long the queen that won the port may take to answer, once ours has ended for that reason. */
const WINNER_ANSWERS_MS = 5000;
/** How long a started queen may still take to answer once the user has given up: one that answers is let go by its lease. */
const ABANDONED_MS = 2000;
const TERMINATION_GRACE_MS = 5000;

/**
 * Starts a queen in a session of its own, with its output in the log folder, and polls until a queen answers. `child` is
 * the started process unless it has ended, as it does when the queen of another keeper won the port. The user's signal
 * does not interrupt this: a queen that was started must be met, so that it can be let go again.
 */
export async function startQueen(
  control: QueenControl,
  how: { ephemeral: boolean; keepAliveMs?: number },
): Promise<{ health: QueenHealth; child: ProcessIdentity | undefined }> {
  const { env, settings, signal } = control.surroundings;
  const { clock } = env;
  const started = await launch(control, how);
  let exit: Exit | undefined;
  void started.process.exited.then((value) => {
    exit = value;
  });
  const begin = clock.monotonic();
  let end = begin + settings.queen_healthy;
  let lostAt: number | undefined;
  let abandonedAt: number | undefined;
  for (let pauseMs = FIRST_POLL_MS; ; pauseMs = Math.min(pauseMs * 1.5, POLL_MS)) {
    const probe = await probeQueen(control.target, settings.queen_probe);
    if (probe.state === 'up') return { health: probe.health, child: exit ? undefined : started.process };
    if (exit) {
      const output = readOutputSince(started.file, started.offset, OUTPUT_LINES);
      if (!output.some((line) => line.includes('in use'))) throw toStartError(control, describeExit(exit), output);
      lostAt ??= clock.monotonic();
      end = Math.min(end, lostAt + WINNER_ANSWERS_MS);
    }
    const now = clock.monotonic();
    if (signal.aborted) {
      abandonedAt ??= now;
      end = Math.min(end, abandonedAt + ABANDONED_MS);
    }
    if (now >= end) {
      if (!exit) await endProcess(started.process, clock, TERMINATION_GRACE_MS);
      signal.throwIfAborted();
      if (lostAt !== undefined) throw toMuteError(control);
      const output = readOutputSince(started.file, started.offset, OUTPUT_LINES);
      throw toStartError(control, `it does not answer after ${Math.round(now - begin)} ms`, output);
    }
    await sleep(clock, pauseMs);
  }
}

interface Launched {
  readonly process: StartedProcess;
  readonly file: string;
  /** Size of the file before the queen wrote to it. */
  readonly offset: number;
}

async function launch(control: QueenControl, how: { ephemeral: boolean; keepAliveMs?: number }): Promise<Launched> {
  const { env, settings } = control.surroundings;
  makeStateFolder(settings.logDir);
  const file = toOutputFile(settings);
  const descriptor = openOutput(file);
  try {
    const { size: offset } = fstatSync(descriptor);
    const process = await startProcess({
      command: env.execPath,
      args: [env.queenLauncher, ...toQueenArgs(control, how)],
      variables: env.variables,
      outputDescriptor: descriptor,
    });
    return { process, file, offset };
  } catch (cause) {
    throw toStartError(
      control,
      `${env.execPath} cannot be started (${(cause as NodeJS.ErrnoException).code})`,
      [],
      cause,
    );
  } finally {
    closeSync(descriptor);
  }
}

/** What a queen that was started here writes to its terminal. */
function toOutputFile({ logDir }: QueenSurroundings['settings']): string {
  return join(logDir, 'queen-rbee.out.log');
}

function openOutput(file: string): number {
  try {
    return openSync(file, 'a', 0o600);
  } catch (error) {
    throw toFileError(file, error as NodeJS.ErrnoException);
  }
}

function toFileError(file: string, cause: NodeJS.ErrnoException): RbeeError {
  return new RbeeError('CONFIG_INVALID', `cannot write the file ${file} (${cause.code ?? 'unknown cause'})`, {
    details: { path: file, cause: cause.code },
    suggestion: 'give this user write permission on it, or name another folder as paths.log_dir in the configuration',
    cause,
  });
}

/** The queen's command line: the keeper's own configuration, handed on. */
function toQueenArgs(
  {
    address,
    surroundings,
  }: { address: QueenControl['address']; surroundings: Pick<QueenSurroundings, 'globals' | 'env'> },
  how: { ephemeral: boolean; keepAliveMs?: number },
): string[] {
  const { config } = surroundings.globals;
  return [
    'daemon',
    '--port',
    String(address.port),
    ...(address.host === 'localhost' || address.host === '127.0.0.1' ? [] : ['--host', address.host]),
    ...(how.ephemeral ? ['--ephemeral'] : []),
    ...(how.keepAliveMs ? ['--keep-alive', `${how.keepAliveMs}ms`] : []),
    ...(config === undefined ? [] : ['--config', resolve(surroundings.env.cwd, config)]),
  ];
}

/** Something holds the port and does not answer, for example a queen that hangs. */
function toMuteError({ address }: QueenControl): RbeeError {
  return new RbeeError(
    'QUEEN_UNREACHABLE',
    `the program that listens on ${address.host}:${address.port} does not answer`,
    {
      details: { url: address.url, port: address.port },
      suggestion: `see which program it is (ss -ltnp 'sport = :${address.port}') and end it, or use another port with --queen-url`,
    },
  );
}

function describeExit({ code, signal }: Exit): string {
  return signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
}

function toStartError(control: QueenControl, why: string, output: readonly string[], cause?: unknown): RbeeError {
  return new RbeeError('QUEEN_START_FAILED', `queen-rbee could not be started: ${why}`, {
    details: { url: control.address.url, output },
    suggestion: `see what it wrote: ${toOutputFile(control.surroundings.settings)}`,
    cause,
  });
}
