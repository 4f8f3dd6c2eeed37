import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const PROJECT = resolve(import.meta.dirname, '..');
export const MODEL = join(PROJECT, 'models/honeycomb-q4_k_m.gguf');

/** A home folder, ports and daemons of their own for one run of the benchmarks. */
export class Installation {
  readonly home = mkdtempSync(join(tmpdir(), 'rbee-bench-'));
  readonly variables: Record<string, string>;
  readonly #children: ChildProcess[] = [];

  private constructor(
    readonly queenPort: number,
    readonly hivePort: number,
    readonly workerPort: number,
  ) {
    this.variables = {
      PATH: process.env.PATH ?? '',
      HOME: this.home,
      RBEE_QUEEN_PORT: String(queenPort),
      RBEE_HIVE_PORT: String(hivePort),
      RBEE_WORKER_PORT_START: String(workerPort),
    };
  }

  static async create(): Promise<Installation> {
    const [queen = 0, hive = 0, worker = 0] = await freePorts(3);
    return new Installation(queen, hive, worker);
  }

  /** Starts a launcher and waits until its health route answers. */
  async start(launcher: string, args: readonly string[], healthUrl: string): Promise<ChildProcess> {
    const child = spawn(process.execPath, [join(PROJECT, launcher), ...args], {
      env: { ...this.variables, UV_THREADPOOL_SIZE: launcher.includes('worker') ? '1' : '4' },
      stdio: 'ignore',
    });
    this.#children.push(child);
    const end = performance.now() + 30_000;
    while (!(await answers(healthUrl))) {
      if (child.exitCode !== null || performance.now() > end) throw new Error(`${launcher} does not answer`);
      await new Promise((settle) => setTimeout(settle, 20));
    }
    return child;
  }

  /** Ends one child, or all of them, and waits for it. */
  async end(child?: ChildProcess): Promise<void> {
    if (!child) {
      for (const each of this.#children.reverse()) await this.end(each);
      return;
    }
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((settle) => child.once('exit', settle));
    child.kill('SIGTERM');
    await gone;
  }

  /** Removes the home folder. */
  remove(): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}

async function answers(url: string): Promise<boolean> {
  return await fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((settle) => {
          server.listen(0, '127.0.0.1', () => settle((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((settle) => server.close(settle))));
  return ports;
}
