import { randomBytes } from 'node:crypto';
import { redact, Secret, type Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { Machine, RunResult } from '../machine/machine.js';
import type { OwnedHive } from '../registry/node-record.js';
import { hiveStartFailed } from './hive-start-error.js';
import { ANSWER_SCRIPT, KEY_SCRIPT, LAUNCH_SCRIPT, OUTPUT_SCRIPT, RUNNING_SCRIPT } from './remote-hive-scripts.js';

const LAST_LINES = 10;
/** How long `rbee-hive stop` may go on after its grace: it waits for a process that it killed, and ends its workers. */
const AFTER_GRACE_MS = 15_000;

/** A hive's process on a node that was started a moment ago. */
export interface LaunchedHive extends OwnedHive {
  /** Size of its output file before: what follows is its own. */
  readonly outputStart: number;
}

export interface RemoteHiveOptions {
  readonly node: string;
  readonly machine: Machine;
  readonly timeouts: Timeouts;
  readonly hivePort: number;
  readonly installPath: string;
}

/** The commands by which a hive is started, looked after and ended on a node. All throw the errors of the connection. */
export class RemoteHive {
  readonly #options: RemoteHiveOptions;

  constructor(options: RemoteHiveOptions) {
    this.#options = options;
  }

  /** The key that the node keeps for its hive; `undefined` where there is none. */
  async readKey(): Promise<Secret | undefined> {
    return readKeyLine(await this.#run(KEY_SCRIPT, ['']));
  }

  /** The node's key, made where there is none. Throws HIVE_START_FAILED when it cannot be written. */
  async provideKey(signal?: AbortSignal): Promise<Secret> {
    const result = await this.#run(KEY_SCRIPT, [randomBytes(32).toString('hex')], { signal });
    const key = readKeyLine(result);
    if (key) return key;
    const { node, hivePort: port } = this.#options;
    const why = 'cannot have a key: its file ~/.rbee/secrets/hive.token cannot be written, or is empty';
    const suggestion = `check on ${node} that its disk has room (df -h ~) and that its user may write to ~/.rbee`;
    throw hiveStartFailed({ node, port, why, lastLines: linesOf(result.stderr), suggestion });
  }

  /**
   * Starts a hive that goes on without the connection. `name` is for `answerOf`, when the connection breaks before the
   * answer. Throws HIVE_NOT_INSTALLED when its program cannot be run, and HIVE_START_FAILED with what it said when it did
   * not start.
   */
  async launch(launcher: readonly string[], name: string): Promise<LaunchedHive> {
    const { node, installPath, hivePort: port } = this.#options;
    const command = [...launcher, 'daemon', '--detach', '--owned', '--port', String(port)];
    const result = await this.#run(LAUNCH_SCRIPT, [name, installPath, ...command]);
    // What the shell answers for a program that is missing or must not be run.
    if (result.code === 127 || result.code === 126) throw hiveNotInstalled(node, lastOf(linesOf(result.stderr)));
    const hive = readProcess(result);
    if (result.code !== 0 || !hive) {
      const lastLines = linesOf(`${result.stdout}\n${result.stderr}`).filter((line) => !line.startsWith('rbee-'));
      throw hiveStartFailed({ node, port, why: `did not start (exit code ${result.code})`, lastLines });
    }
    const outputStart = Number(/rbee-output-size:\s*(\d+)/.exec(result.stdout)?.[1] ?? 0);
    return { ...hive, outputStart };
  }

  /** The process of a launch whose answer got lost; `undefined` as long as there is none. It is told once. */
  async answerOf(name: string, signal?: AbortSignal): Promise<OwnedHive | undefined> {
    return readProcess(await this.#run(ANSWER_SCRIPT, [name], { signal }));
  }

  /** Whether exactly this process still runs. */
  async isRunning({ pid, startTime }: OwnedHive, signal?: AbortSignal): Promise<boolean> {
    const { stdout } = await this.#run(RUNNING_SCRIPT, [String(pid), startTime], { signal });
    return stdout.includes('rbee-process:running');
  }

  /** The last lines that a process wrote, oldest first, without secrets. */
  async lastLines({ outputStart }: LaunchedHive): Promise<string[]> {
    const { stdout } = await this.#run(OUTPUT_SCRIPT, [String(outputStart)]);
    const [, output = ''] = stdout.split('\nrbee-output:\n');
    return linesOf(output).slice(-LAST_LINES);
  }

  /** SIGTERM to exactly this process, then SIGKILL after a while. Throws SSH_COMMAND_FAILED when the command for it fails. */
  async stop(
    launcher: readonly string[],
    hive: OwnedHive,
    graceMs: number,
  ): Promise<{ ended: boolean; killed: boolean }> {
    const args = ['--pid', String(hive.pid), '--start-time', hive.startTime, '--grace', `${Math.ceil(graceMs)}ms`];
    const timeoutMs = graceMs + AFTER_GRACE_MS;
    const result = await this.#run('echo; exec "$@"', [...launcher, 'stop', ...args], { timeoutMs });
    const { was_running: ended, killed } = readJsonLine(result.stdout);
    if (result.code === 0 && typeof ended === 'boolean') return { ended, killed: killed === true };
    const { node } = this.#options;
    throw new RbeeError('SSH_COMMAND_FAILED', `the hive of ${node} (pid ${hive.pid}) could not be stopped`, {
      details: { node, exit_status: result.code, last_line: lastOf(linesOf(result.stderr)) },
      suggestion: `end it there: kill ${hive.pid}`,
    });
  }

  #run(
    script: string,
    args: readonly string[],
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<RunResult> {
    const { machine, timeouts } = this.#options;
    return machine.run(script, args, { timeoutMs: timeouts.ssh_command, ...options });
  }
}

/** The hive's program is not on a node, or cannot be run there. */
export function hiveNotInstalled(node: string, reason = 'rbee-hive: command not found'): RbeeError {
  return new RbeeError('HIVE_NOT_INSTALLED', `rbee is not installed on ${node}: ${reason}`, {
    details: { node, reason },
    suggestion: `install it: rbee-keeper setup install --node ${node}`,
  });
}

function readProcess({ stdout }: RunResult): OwnedHive | undefined {
  const { pid, start_time: startTime } = readJsonLine(stdout);
  return typeof pid === 'number' && typeof startTime === 'string' ? { pid, startTime } : undefined;
}

function readKeyLine({ stdout }: RunResult): Secret | undefined {
  const key = /\nrbee-key:(.+)/.exec(stdout)?.[1];
  return key === undefined ? undefined : new Secret(key);
}

/** The fields of the last line that is an object; none where there is no such line. */
function readJsonLine(output: string): Readonly<Record<string, unknown>> {
  const line = output.split('\n').findLast((text) => text.startsWith('{'));
  try {
    return JSON.parse(line ?? '{}') as Record<string, unknown>;
  } catch {
    // It is no answer: the caller says so.
    return {};
  }
}

function linesOf(output: string): string[] {
  return redact(output)
    .split('\n')
    .filter((line) => line.trim() !== '');
}

function lastOf(lines: readonly string[]): string | undefined {
  return lines.at(-1);
}
