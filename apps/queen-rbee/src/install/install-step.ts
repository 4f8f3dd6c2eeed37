import { type Clock, formatDuration, redact } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';

const KEPT_LINES = 20;
const LONGEST_LINE = 500;
/** How a line looks that says what went wrong; what follows it is often advice or a stack, or an error's properties. */
const TELLING = /\b(error|fatal|failed|cannot|can't|denied|not found|no such|unable|invalid|damaged)\b|ERR_|ENO[A-Z]+/i;
const STACK = /^\s*(at |[{}\]]|(code|errno|syscall|path): )/;
const DISK_FULL = /ENOSPC|EDQUOT|no space left on device|disk quota exceeded|(disk|device) is full/i;

export interface StepOptions {
  readonly node: string;
  readonly machine: Machine;
  readonly clock: Clock;
  /** Longest time of one step. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** What a failed step adds to its error. */
export interface Failure {
  readonly details?: Readonly<Record<string, unknown>>;
  readonly suggestion?: string;
}

/** Runs the steps of one installation on a node, each within a time limit; what goes wrong names its step. */
export class Steps {
  readonly #options: StepOptions;

  constructor(options: StepOptions) {
    this.#options = options;
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  /**
   * Runs a script and resolves with its standard output. Throws INSTALL_FAILED when it fails or takes too long, the
   * errors of the connection, and the signal's reason.
   */
  async run(step: string, script: string, args: readonly string[]): Promise<string> {
    const { machine, timeoutMs, signal } = this.#options;
    const lines: string[] = [];
    const onLine = (line: string) => {
      if (line.trim() === '') return;
      lines.push(redact(line.slice(0, LONGEST_LINE)));
      if (lines.length > KEPT_LINES) lines.shift();
    };
    try {
      const { code, stdout } = await machine.run(script, args, { timeoutMs, signal, onLine });
      if (code !== 0) throw this.failed(step, lines, code);
      return stdout;
    } catch (error) {
      throw this.#toStepError(step, lines, error);
    }
  }

  /** Moves a file to the node, within the time limit of a step; `onProgress` is told the bytes that are there. */
  async upload(
    step: string,
    source: { readonly path: string },
    target: string,
    onProgress: (bytesDone: number, bytesTotal: number) => void,
  ): Promise<void> {
    const { machine, clock, timeoutMs, signal } = this.#options;
    const limit = new AbortController();
    const cancel = clock.after(timeoutMs, () =>
      limit.abort(this.failed(step, [`took longer than ${formatDuration(timeoutMs)}`])),
    );
    try {
      const ended = AbortSignal.any([signal, limit.signal]);
      await machine.upload(source, target, { mode: 0o600, signal: ended, onProgress });
    } catch (error) {
      throw this.#toStepError(step, [], error);
    } finally {
      cancel();
    }
  }

  /** The error of a step, told by the most telling of its last lines. */
  failed(step: string, lines: readonly string[], code?: number | null, more: Failure = {}): RbeeError {
    const { node } = this.#options;
    const full = lines.some(isDiskFull);
    const why = full ? 'the disk of the node is full' : (findTelling(lines) ?? `exit code ${code}`);
    return new RbeeError('INSTALL_FAILED', `installing rbee on ${node} failed (${step}): ${why}`, {
      details: {
        node,
        step,
        last_output: [...lines],
        ...(code === undefined ? {} : { exit_code: code }),
        ...more.details,
      },
      suggestion:
        more.suggestion ??
        (full
          ? `free some space on ${node} (df -h shows how much there is), then try again`
          : `look at the last lines of the output, then try again: rbee-keeper setup install --node ${node}`),
    });
  }

  #toStepError(step: string, lines: readonly string[], error: unknown): unknown {
    this.#options.signal.throwIfAborted();
    if (!isRbeeError(error) || error.code !== 'SSH_COMMAND_FAILED') return error;
    // What the node says of a file that cannot be written, or that a command took too long.
    return this.failed(step, [...lines, redact(error.message)], undefined, { details: { cause: error.details } });
  }
}

/** Whether a program says that it could not write because the disk is full. */
export function isDiskFull(line: string): boolean {
  return DISK_FULL.test(line);
}

/** The line that says best what went wrong, without the name of the program that says it. */
function findTelling(lines: readonly string[]): string | undefined {
  const line = lines.findLast((text) => TELLING.test(text) && !STACK.test(text)) ?? lines.at(-1);
  return line?.trim().replace(/^\[[\w-]+\] Error: /, '');
}
