import { type Clock, formatDuration, type Narrate, type Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { findLauncher } from '../machine/find-launcher.js';
import { inspectMachine, type MachineFacts } from '../machine/inspect-machine.js';
import { nodeMissing } from '../machine/node-missing.js';
import { hiveNotInstalled } from './remote-hive.js';
import type { RemoteSession } from './remote-session.js';

/** A slower answer to the shortest command is worth a warning: every command pays it. */
const SLOW_ROUND_TRIP_MS = 100;
const ECHO = 'rbee echo: ready?';

export interface PreflightOptions {
  readonly node: string;
  readonly session: RemoteSession;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly installPath: string;
  /** Node.js on the node as it is known; left out, or where it has gone, it is looked for. */
  readonly nodePath: string | undefined;
  /** Program that is used in place of the one in `installPath`. */
  readonly binaryPath: string | undefined;
  readonly narrate: Narrate;
  readonly signal: AbortSignal;
  /** Where Node.js is looked for; left out: the usual places. */
  readonly nodeCandidates?: readonly string[] | undefined;
}

/**
 * Checks a machine before a hive is started there, each step told, and returns how the hive's program is called. Throws
 * SSH_*, and HIVE_NOT_INSTALLED when the program, or a Node.js that can run it, is missing.
 */
export async function preflightMachine(options: PreflightOptions): Promise<readonly string[]> {
  const { node, session, narrate, signal } = options;
  const say = (human: string, level: 'info' | 'warn' = 'info') =>
    narrate({ actor: 'queen-rbee', action: 'ssh_preflight', target: node, human, level });
  await session.connect(narrate, signal);
  say(`connected to ${node}; its SSH server took the key`);
  const roundTripMs = await echo(options);
  say(`${node} echoes what it is told, round trip ${formatDuration(roundTripMs)}`);
  if (roundTripMs > SLOW_ROUND_TRIP_MS) {
    say(`${node} answers slowly: more than ${SLOW_ROUND_TRIP_MS} ms for an echo`, 'warn');
  }
  const launcher = await findProgram(options);
  say(`found the hive's program on ${node}`);
  return launcher;
}

/** Milliseconds until a command that does nothing but answer was through. */
async function echo({ node, session, clock, timeouts, signal }: PreflightOptions): Promise<number> {
  const startedAt = clock.monotonic();
  const options = { timeoutMs: timeouts.ssh_command, signal };
  const { code, stdout, stderr } = await session.run(`printf '\\n%s\\n' "$1"`, [ECHO], options);
  if (stdout.split('\n').includes(ECHO)) return clock.monotonic() - startedAt;
  throw new RbeeError('SSH_COMMAND_FAILED', `${node} runs no commands: an echo did not come back`, {
    details: { node, exit_status: code, last_line: stderr.trimEnd().split('\n').at(-1) ?? '' },
    suggestion: 'check the login shell of the user there, and that its key is not bound to one command',
  });
}

async function findProgram(options: PreflightOptions): Promise<readonly string[]> {
  const { node, session, timeouts, installPath, nodePath, binaryPath, signal, nodeCandidates } = options;
  const limits = { timeoutMs: timeouts.ssh_command, signal };
  const search = { ...limits, ...(nodeCandidates ? { candidates: nodeCandidates } : {}) };
  let facts: MachineFacts = await inspectMachine(session, { ...search, nodePath });
  // An update of Node.js often moves it.
  if (!facts.node && nodePath !== undefined) {
    const { rejected } = facts;
    facts = await inspectMachine(session, search);
    facts = { ...facts, rejected: [...rejected, ...facts.rejected] };
  }
  const place = { ...limits, installPath, binaryPath, nodePath: facts.node?.path };
  const launcher = await findLauncher(session, place);
  if (launcher) return launcher;
  throw facts.node ? hiveNotInstalled(node) : nodeMissing('HIVE_NOT_INSTALLED', node, facts);
}
