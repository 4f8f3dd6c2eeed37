import { fileURLToPath } from 'node:url';
import { processEnvironment } from '@rbee/daemon-kit/client';
import type { KeeperEnvironment, TextSink } from './keeper-environment.js';
import { runProgram } from './program.js';

const { args, variables, cwd, home, tmpdir, clock } = processEnvironment();

const environment: KeeperEnvironment = {
  args,
  variables,
  cwd,
  home,
  tmpdir,
  clock,
  // Standard input is opened only by those who read it.
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  execPath: process.execPath,
  queenLauncher: fileURLToPath(new URL('../../queen-rbee/bin/queen-rbee.js', import.meta.url)),
};

function flushed(stream: TextSink): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

const code = await runProgram(environment);
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
process.exit(code);
