import { LEAST_NODE_JS, RbeeError, runsOnNodeJs } from '@rbee/protocol';
import { INSPECT_SCRIPT } from './inspect-script.js';
import type { Machine } from './machine.js';
import { NODE_CANDIDATES } from './node-candidates.js';

/** How long one program of the machine, such as the user's login shell, may take to answer. */
const PATIENCE_SECONDS = 5;

/** A Node.js that rbee can run on. */
interface FoundNode {
  /** Absolute. */
  readonly path: string;
  /** Without the `v`. */
  readonly version: string;
  /** Version of the interface that compiled addons are built for, for example 115. */
  readonly abi: string;
}

/** What a machine is. */
export interface MachineFacts {
  readonly home: string;
  readonly user: string;
  /** As Node.js names it: `linux`, `darwin`; others as `uname` says, in small letters. */
  readonly os: string;
  /** As Node.js names it: `x64`, `arm64`; of the Node.js that was found, else of the machine. */
  readonly arch: string;
  /** Of Linux only. */
  readonly libc: 'glibc' | 'musl' | undefined;
  readonly node: FoundNode | undefined;
  /** What was found and does not fit, with its version or, instead, what is wrong with it. */
  readonly rejected: readonly { readonly path: string; readonly version: string }[];
  /** Free space where the home folder is. */
  readonly freeBytes: number | undefined;
}

export interface InspectOptions {
  /** The only Node.js that counts; left out: it is looked for. */
  readonly nodePath?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Where Node.js is looked for, see NODE_CANDIDATES. */
  readonly candidates?: readonly string[];
  /** How long one program of the machine may take. Default 5. */
  readonly patienceSeconds?: number;
}

/**
 * Learns in one command what a machine is and which Node.js it has. Throws SSH_COMMAND_FAILED when the answer cannot be
 * read or takes too long, and the errors of the connection.
 */
export async function inspectMachine(machine: Machine, options: InspectOptions): Promise<MachineFacts> {
  const { nodePath, timeoutMs, signal, patienceSeconds = PATIENCE_SECONDS } = options;
  const candidates = nodePath === undefined ? (options.candidates ?? NODE_CANDIDATES) : [`=${nodePath}`];
  const limits = [String(patienceSeconds), ...LEAST_NODE_JS.split('.')];
  const result = await machine.run(INSPECT_SCRIPT, [...limits, ...candidates], { timeoutMs, signal });
  const facts = readFacts(result.stdout);
  if (facts.home === '') {
    throw new RbeeError('SSH_COMMAND_FAILED', 'the machine does not tell what it is', {
      details: { exit_status: result.code, last_line: lastLine(result.stderr) },
      suggestion: 'check that /bin/sh works there for this user, and that its home folder is set',
    });
  }
  if (nodePath === undefined || facts.node || facts.rejected.length > 0) return facts;
  return { ...facts, rejected: [{ path: nodePath, version: 'not there' }] };
}

/** The facts in the output of the script; what is missing there is empty. */
export function readFacts(output: string): MachineFacts {
  const lines = output.split('\n').map((line) => line.split('\t'));
  const factOf = (name: string) => lines.find(([first]) => first === name)?.[1] ?? '';
  const programs = lines.filter(([first]) => first === 'node').map(readProgram);
  // The script stops at the first place with one that fits: all that fit are from one place.
  const [best] = programs.filter(({ fits }) => fits).sort((a, b) => compareVersions(b.version, a.version));
  const os = factOf('os').toLowerCase();
  return {
    home: factOf('home'),
    user: factOf('user'),
    os,
    arch: best?.arch ?? toArch(factOf('arch')),
    libc: readLibc(os, factOf('libc')),
    node: best && { path: best.path, version: best.version, abi: best.abi },
    rejected: programs.filter(({ fits }) => !fits).map(({ path, version }) => ({ path, version })),
    freeBytes: readFreeBytes(factOf('disk')),
  };
}

interface Program extends FoundNode {
  readonly arch: string;
  readonly fits: boolean;
}

function readProgram([, file = '', v = '', abi = '', , arch = '', execPath = '']: string[]): Program {
  const version = /^v(\d+\.\d+\.\d+\S*)$/.exec(v)?.[1];
  // What version managers put on the PATH depends on folder and session; the program behind it does not.
  const passing = /\/(shims|fnm_multishells)\/|\/\.volta\/bin\//.test(file);
  const path = passing && execPath.startsWith('/') ? execPath : file;
  if (version === undefined) return { path: file, version: 'does not run', abi, arch, fits: false };
  return { path, version, abi, arch, fits: runsOnNodeJs(version) };
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

function readLibc(os: string, text: string): MachineFacts['libc'] {
  return os === 'linux' && (text === 'glibc' || text === 'musl') ? text : undefined;
}

function toArch(machine: string): string {
  const names: Readonly<Record<string, string>> = { x86_64: 'x64', amd64: 'x64', aarch64: 'arm64' };
  return names[machine] ?? machine;
}

/** The figure for free space in a line of `df -Pk`, in which names may hold spaces. */
function readFreeBytes(line: string): number | undefined {
  const kilobytes = /\s\d+\s+\d+\s+(\d+)\s+\d+%/.exec(line)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}
