import { type ChildProcess, spawn } from 'node:child_process';

export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly input?: string | undefined;
  /** Runs as another user. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

type Output = 'stdout' | 'stderr';

const WAIT_MS = 30_000;

/** A real process that a scenario started, with everything it wrote and when. */
export class Program {
  readonly child: ChildProcess;
  readonly name: string;
  readonly startedAt = performance.now();
  readonly exited: Promise<number>;
  readonly text: Record<Output, string> = { stdout: '', stderr: '' };
  /** Milliseconds from the start to the first byte on standard output. */
  firstOutputMs: number | undefined;
  /** How many pieces its standard output came in. */
  outputPieces = 0;
  /** Milliseconds from the start to the exit. */
  durationMs: number | undefined;
  exitCode: number | undefined;
  #watchers = new Set<() => void>();

  constructor(options: ProgramOptions) {
    this.name = [options.command.split('/').at(-1), ...options.args].join(' ');
    this.child = spawn(options.command, [...options.args], {
      cwd: options.cwd,
      env: options.variables,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...options.user,
    });
    for (const output of ['stdout', 'stderr'] as const) {
      this.child[output]?.setEncoding('utf8').on('data', (text: string) => {
        if (output === 'stdout') {
          this.firstOutputMs ??= performance.now() - this.startedAt;
          this.outputPieces++;
        }
        this.text[output] += text;
        this.#notify();
      });
    }
    // A program that ends early must not fail the scenario by the pipe it no longer reads.
    this.child.stdin?.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error;
    });
    if (options.input !== undefined) this.child.stdin?.end(options.input);
    this.exited = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        this.exitCode = code ?? 128 + (signal === 'SIGKILL' ? 9 : signal === 'SIGINT' ? 2 : 15);
        this.durationMs = performance.now() - this.startedAt;
        this.#notify();
        resolve(this.exitCode);
      });
    });
  }

  /** Waits until an output matches; fails when the program ends or time runs out without that. */
  waitFor(output: Output, pattern: RegExp): Promise<RegExpExecArray> {
    return this.#wait(
      () => pattern.exec(this.text[output]),
      () => `${output} of "${this.name}" never matched ${pattern}`,
    );
  }

  /** Waits for the exit code. */
  async waitForExit(timeoutMs = WAIT_MS): Promise<number> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error(`"${this.name}" did not end within ${timeoutMs} ms\n${this.report()}`)),
        timeoutMs,
      );
    });
    try {
      return await Promise.race([this.exited, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  get running(): boolean {
    return this.exitCode === undefined;
  }

  /** What it wrote, for the message of a failed step. */
  report(): string {
    return `--- ${this.name} (exit ${this.exitCode ?? 'none yet'})\n--- stdout\n${this.text.stdout}\n--- stderr\n${this.text.stderr}`;
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #wait<T>(find: () => T | null, describe: () => string): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(check);
        settle();
      };
      const fail = () => finish(() => reject(new Error(`${describe()}\n${this.report()}`)));
      const timer = setTimeout(fail, WAIT_MS);
      const check = () => {
        const found = find();
        if (found) finish(() => resolve(found));
        else if (!this.running) fail();
      };
      this.#watchers.add(check);
      check();
    });
  }
}
