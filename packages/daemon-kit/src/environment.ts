import { homedir, hostname, tmpdir } from 'node:os';
import { type Clock, systemClock } from './clock.js';

/** Everything of the outside world that a daemon reads; built once in `main.ts`. */
export interface Environment {
  readonly args: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  readonly hostname: string;
  readonly tmpdir: string;
  readonly platform: NodeJS.Platform;
  readonly clock: Clock;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** The environment of this process. */
export function processEnvironment(): Environment {
  return {
    args: process.argv.slice(2),
    variables: process.env,
    cwd: currentFolder(),
    home: homedir(),
    hostname: hostname(),
    tmpdir: tmpdir(),
    platform: process.platform,
    clock: systemClock,
    get stdin() {
      return process.stdin;
    },
    get stdout() {
      return process.stdout;
    },
    get stderr() {
      return process.stderr;
    },
  };
}

/** The folder that this process stands in; the home folder where it was removed meanwhile. */
function currentFolder(): string {
  try {
    return process.cwd();
  } catch {
    return homedir();
  }
}
