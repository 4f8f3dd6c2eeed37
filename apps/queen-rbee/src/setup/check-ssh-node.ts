import { randomUUID } from 'node:crypto';
import { type Logger, type Narrate, orAborted, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, LEAST_NODE_JS, RbeeError } from '@rbee/protocol';
import { findLauncher } from '../machine/find-launcher.js';
import { inspectMachine, type MachineFacts } from '../machine/inspect-machine.js';
import type { Machine, RunResult } from '../machine/machine.js';
import { ownFingerprint } from '../registry/own-host-key.js';
import type { HostKeys } from '../ssh/host-key.js';
import type { SshAddress } from '../ssh/ssh-address.js';
import { type Capabilities, CPU_ONLY, completeCapabilities, detectCapabilities } from './capabilities.js';
import type { Findings } from './findings.js';
import type { NodeDraft } from './node-draft.js';

/** One connection to a node that may not be registered yet. */
export interface CheckSession extends Machine {
  /** Makes the connection in a few attempts, each of which is told. Throws SSH_*. */
  connect(narrate?: Narrate, signal?: AbortSignal): Promise<void>;
  /** What the hosts of the newest connection showed: those on the way first, the node last. */
  readonly seenHostKeys: HostKeys;
  close(): Promise<void>;
}

/**
 * Makes a session, without connecting yet, that takes exactly these host keys, and any from a host that is not named.
 */
export type CreateSession = (
  node: string,
  address: SshAddress,
  hostKeys: HostKeys,
  expectedFingerprint: string | undefined,
) => CheckSession;

export interface CheckParts {
  readonly createSession: CreateSession;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  /** Program that stands in for the hive's own launcher on every node. */
  readonly binaryPath: string | undefined;
}

/**
 * Connects to a node, sees whether commands run there, and learns what it has. A missing Node.js or hive is told, and
 * no error: both can come later. Throws SSH_* and the signal's reason; the connection is closed in any case.
 */
export async function checkSshNode(
  parts: CheckParts,
  draft: NodeDraft,
  address: SshAddress,
  narrate: Narrate,
  signal: AbortSignal,
): Promise<Findings> {
  const session = parts.createSession(draft.name, address, draft.hostKeys, draft.expectedFingerprint);
  try {
    await session.connect(narrate, signal);
    const hostKeys = session.seenHostKeys;
    tellHostKey(draft, hostKeys, narrate);
    const run = { timeoutMs: parts.timeouts.ssh_command, signal };
    const home = await echo(session, run);
    await requireForwarding(session, draft.hivePort, signal);
    const installPath = inHome(draft.installPath, home);
    const given = draft.nodePath === undefined ? undefined : inHome(draft.nodePath, home);
    const node = await findNode(session, given, draft.knownNodePath, run);
    if (!node.node) tellMissingNode(node, given, draft.name, narrate);
    const nodePath = given ?? node.node?.path;
    const found = await detect(parts, session, { ...draft, installPath, nodePath: node.node?.path }, narrate, run);
    return { hostKeys, installPath, nodePath, ...completeCapabilities(draft.capabilities, found) };
  } finally {
    await session.close();
  }
}

interface Limits {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Has a command say something, and where the user's home folder is. */
async function echo(machine: Machine, limits: Limits): Promise<string> {
  const text = `rbee-${randomUUID()}`;
  const result = await machine.run(`printf '%s\\n%s\\n' "$1" "$HOME"`, [text], limits);
  // The user's start-up files may have said something before it.
  const lines = result.stdout.split('\n');
  const said = lines.indexOf(text);
  if (result.code !== 0 || said === -1) throw echoFailed(result);
  const home = lines[said + 1] ?? '';
  if (home.startsWith('/')) return home;
  throw new RbeeError('SSH_COMMAND_FAILED', 'the user has no home folder there', {
    suggestion: 'connect as a user with a home folder: --ssh-user NAME',
  });
}

function echoFailed({ code, stderr, stdout }: RunResult): RbeeError {
  const lastLine = (stderr.trimEnd() || stdout.trimEnd()).split('\n').at(-1) ?? '';
  const how = code === 0 ? 'its text did not come back' : `it ended with status ${code}`;
  return new RbeeError('SSH_COMMAND_FAILED', `SSH access works, but no command runs there: ${how}`, {
    details: { exit_status: code, last_line: lastLine },
    suggestion: 'check that this user may run commands: that it has a login shell, and the key no forced command',
  });
}

/** What forwards nothing could be installed on and never used. Whether anything listens on the port makes no difference. */
async function requireForwarding(machine: Machine, port: number, signal: AbortSignal): Promise<void> {
  try {
    (await orAborted(machine.openSocket({ host: '127.0.0.1', port }), signal)).destroy();
  } catch (error) {
    if (isRbeeError(error) || signal.aborted) throw error;
  }
}

function inHome(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? `${home.replace(/\/$/, '')}${path.slice(1)}` : path;
}

/** Node.js where it was found before, else wherever it is; or only where the user says that it is. */
async function findNode(
  machine: Machine,
  given: string | undefined,
  known: string | undefined,
  limits: Limits,
): Promise<MachineFacts> {
  const only = given ?? known;
  const facts = await inspectMachine(machine, { ...limits, nodePath: only });
  return facts.node || given !== undefined || only === undefined ? facts : inspectMachine(machine, limits);
}

async function detect(
  { log, binaryPath }: CheckParts,
  machine: Machine,
  place: NodeDraft,
  narrate: Narrate,
  limits: Limits,
): Promise<Capabilities> {
  const { name, installPath, nodePath, capabilities } = place;
  if (capabilities.backends && capabilities.devices) return CPU_ONLY;
  const launcher = await findLauncher(machine, { installPath, nodePath, binaryPath, ...limits });
  if (!launcher) {
    tell(narrate, name, 'node_detect', `rbee is not installed there: rbee-keeper setup install --node ${name}`);
    return CPU_ONLY;
  }
  const found = await detectCapabilities(machine, launcher, limits);
  if (found) return found;
  log.warn({ node: name }, 'the hive of a node did not tell its backends');
  tell(narrate, name, 'node_detect', 'its backends could not be detected: only cpu is noted', 'warn');
  return CPU_ONLY;
}

function tellHostKey(draft: NodeDraft, hostKeys: HostKeys, narrate: Narrate): void {
  const fingerprint = ownFingerprint({ hostKeys });
  if (fingerprint === undefined) return;
  const known = fingerprint === ownFingerprint(draft);
  const human = known ? `the host key is the pinned one: ${fingerprint}` : `its host key is pinned: ${fingerprint}`;
  tell(narrate, draft.name, 'ssh_host_key', human);
}

function tellMissingNode({ rejected }: MachineFacts, given: string | undefined, name: string, narrate: Narrate): void {
  const old = rejected.map(({ version }) => version).join(', ');
  const human =
    given === undefined
      ? `no Node.js ${LEAST_NODE_JS} or newer is there${old && `, only ${old}`}; rbee needs one`
      : `the Node.js that was named cannot be used (${old}); rbee needs ${LEAST_NODE_JS} or newer`;
  tell(narrate, name, 'node_detect', human, 'warn');
}

function tell(narrate: Narrate, target: string, action: string, human: string, level: 'info' | 'warn' = 'info'): void {
  narrate({ actor: 'queen-rbee', action, target, human, level });
}
