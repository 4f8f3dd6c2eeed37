import { type Clock, formatDuration, orAborted, sleep } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { ClientChannel } from 'ssh2';
import type { RunOptions, RunResult } from '../machine/machine.js';
import type { Hop } from './hop.js';
import { REMOTE_SHELL, shellInput } from './quote.js';
import { ScriptOutput } from './script-output.js';

/** How long the end of a command that is not wanted any more may take to be asked for. */
const KILL_MS = 2000;

/** Ends the command's process group where it leads one, which it does unless the login shell stays in between. */
const KILL_SCRIPT = 'kill -s TERM -- "-$1" 2>/dev/null || kill -s TERM "$1" 2>/dev/null';

/** Runs a script on the host of a hop; see `Machine.run`. */
export async function runScript(
  hop: Hop,
  clock: Clock,
  script: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const { timeoutMs, signal, onLine } = options;
  const input = shellInput(script, args);
  const stdout = new ScriptOutput(onLine);
  const stderr = new ScriptOutput(onLine);
  const stop = new AbortController();
  const abort = () => stop.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', abort, { once: true });
  const cancel = clock.after(timeoutMs, () =>
    stop.abort(
      new RbeeError(
        'SSH_COMMAND_FAILED',
        `a command on ${hop.destination.host} took longer than ${formatDuration(timeoutMs)}`,
        {
          details: { host: hop.destination.host, reason: 'timeout', timeout_ms: timeoutMs },
          suggestion: 'look at what the machine is busy with, then try again',
        },
      ),
    ),
  );
  const lost = () => stop.abort(hop.lost.reason);
  hop.lost.addEventListener('abort', lost, { once: true });
  const opening = hop.exec(REMOTE_SHELL);
  let channel: ClientChannel | undefined;
  try {
    channel = await orAborted(opening, stop.signal);
    return await orAborted(collect(channel, input, stdout, stderr), stop.signal);
  } catch (error) {
    if (channel && !hop.lost.aborted) await end(hop, clock, channel, stderr.pid);
    // A channel that opens only now would wait for its input for good.
    else opening.then((late) => late.close()).catch(() => undefined);
    throw error;
  } finally {
    cancel();
    signal?.removeEventListener('abort', abort);
    hop.lost.removeEventListener('abort', lost);
  }
}

function collect(
  channel: ClientChannel,
  input: string,
  stdout: ScriptOutput,
  stderr: ScriptOutput,
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    let code: number | null = null;
    channel.on('data', (chunk: Buffer) => stdout.push(chunk));
    channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    channel.on('error', reject);
    channel.on('exit', (status: number | null) => {
      code = status;
    });
    // The last thing of a channel: both outputs have been read then.
    channel.on('close', () => resolve({ code, stdout: stdout.end(), stderr: stderr.end() }));
    channel.end(input);
  });
}

/** A closed channel alone would let the command go on. */
async function end(hop: Hop, clock: Clock, channel: ClientChannel, pid: number | undefined): Promise<void> {
  const limit = new AbortController();
  const kill = async () => {
    if (pid === undefined) return;
    const killer = await hop.exec(REMOTE_SHELL);
    await collect(killer, shellInput(KILL_SCRIPT, [String(pid)]), new ScriptOutput(), new ScriptOutput());
  };
  // What matters to the caller is why it ends; a machine that does not obey any more has no answer to this either.
  await Promise.race([kill().catch(() => undefined), sleep(clock, KILL_MS, limit.signal).catch(() => undefined)]);
  limit.abort();
  channel.close();
}
