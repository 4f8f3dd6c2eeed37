import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { type Environment, silentLogger } from '@rbee/daemon-kit';
import { RbeeError, toErrorEvent, toRbeeError } from '@rbee/protocol';
import type { CopyJob } from './copy-job.js';
import { runCopy } from './run-copy.js';

/**
 * `queen-rbee copy`: does the copy that the first line of standard input describes, and says on standard output how it
 * ended: `{}` or an error event. Ends early when standard input closes, because the queen has gone then.
 */
export async function copyCommand(environment: Environment): Promise<number> {
  lowerPriority();
  const { clock, home, variables, stdin, stdout } = environment;
  const abort = new AbortController();
  const lines = createInterface({ input: stdin });
  const gone = () => abort.abort(new RbeeError('CANCELLED', 'whoever wanted the copy has gone'));
  // Standard input may hold keys' file names, never keys: those are read where they lie.
  const first = new Promise<string>((resolve, reject) => {
    lines.once('line', resolve);
    lines.once('close', () => {
      gone();
      reject(abort.signal.reason);
    });
  });
  let verdict: object = {};
  try {
    const job = JSON.parse(await first) as CopyJob;
    await runCopy(job, { clock, log: silentLogger, home, variables }, abort.signal);
  } catch (error) {
    const failure = toRbeeError(error);
    // What nobody foresaw is told by its cause alone.
    if (failure.code === 'INTERNAL_ERROR')
      environment.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    verdict = toErrorEvent(failure);
  }
  await new Promise((resolve) => stdout.write(`${JSON.stringify(verdict)}\n`, resolve));
  return 0;
}

/** Tokens come first; a system that does not let us say so copies all the same. */
function lowerPriority(): void {
  try {
    setPriority(constants.priority.PRIORITY_LOW);
  } catch {
    return;
  }
}
