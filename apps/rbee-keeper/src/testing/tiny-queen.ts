import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { identify, isRunning, type ProcessIdentity, signalProcess, systemClock } from '@rbee/daemon-kit/client';
import { waitForEnd } from '../queen/wait-for-end.js';
import { type KeeperOptions, makeFolder } from './start-keeper.js';

/** A place where keepers start queens that are a small program of the tests. */
export class TinyQueenPlace {
  readonly home = makeFolder();
  readonly port: number;
  readonly #variables: Record<string, string>;

  private constructor(port: number, variables: Record<string, string>) {
    this.port = port;
    this.#variables = variables;
  }

  /** A place with a free port. `mood` says how its queens misbehave, see tiny-queen.mjs. */
  static async create(mood = '', variables: Record<string, string> = {}): Promise<TinyQueenPlace> {
    return new TinyQueenPlace(await takePort(), { TINY_QUEEN: mood, ...variables });
  }

  /** What a keeper has to be started with. */
  get options(): KeeperOptions {
    return {
      home: this.home,
      input: '',
      queenLauncher: fileURLToPath(new URL('./tiny-queen.mjs', import.meta.url)),
      variables: { RBEE_QUEEN_PORT: String(this.port), TINY_QUEEN_STARTS: this.#record, ...this.#variables },
    };
  }

  /** Every queen that was started: its pid and its command line. */
  get starts(): { pid: number; args: string }[] {
    if (!existsSync(this.#record)) return [];
    const lines = readFileSync(this.#record, 'utf8').trim().split('\n');
    return lines.map((line) => ({ pid: Number.parseInt(line, 10), args: line.replace(/^\d+ /, '') }));
  }

  /** The queens that run now. */
  get running(): ProcessIdentity[] {
    return this.starts.flatMap(({ pid }) => identify(pid) ?? []).filter(isRunning);
  }

  /** Resolves to whether every queen has ended within a second. */
  async isEmpty(): Promise<boolean> {
    const never = new AbortController().signal;
    const ends = await Promise.all(this.running.map((queen) => waitForEnd(queen, systemClock, 1000, never)));
    return ends.every((ended) => ended);
  }

  /** For afterEach: ends what a test left running. */
  async clear(): Promise<void> {
    for (const queen of this.running) signalProcess(queen, 'SIGKILL');
    await this.isEmpty();
  }

  get #record(): string {
    return join(this.home, 'starts');
  }
}

async function takePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
