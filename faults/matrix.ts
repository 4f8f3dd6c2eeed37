export const PROCESSES = ['keeper', 'queen', 'hive', 'worker', 'sshd'] as const;
export const FAULTS = ['SIGKILL', 'SIGSTOP', 'link'] as const;
export const PHASES = ['queued', 'SSH', 'download', 'load', 'prompt', 'decode', 'drain'] as const;

export type ProcessName = (typeof PROCESSES)[number];
type FaultName = (typeof FAULTS)[number];
export type Phase = (typeof PHASES)[number];

export interface Cell {
  readonly process: ProcessName;
  readonly fault: FaultName;
  readonly phase: Phase;
}

/** How long a stopped process stands still, and for how long a link is silent before its connections are reset. */
export const STOP_MS = 10_000;
export const SILENCE_MS = 6_000;
/** How long it takes until a machine's service manager has started its SSH server again. */
export const SSHD_RESTART_MS = 1_000;

/** Which connections are cut in the row of each process. */
export const LINKS: Readonly<Record<ProcessName, string>> = {
  keeper: 'keeper - queen',
  queen: 'keeper - queen and queen - sshd',
  hive: 'queen - hive, of a node without SSH',
  worker: 'queen - worker, of a node without SSH',
  sshd: 'queen - sshd',
};

/**
 * What the user must see. `same`: the whole exact answer, no token twice and none missing. `error`: one of the codes, with exit
 * code 1, in at most so much time after the fault, and a message that says what to type next. `cancelled`: there is no user any more; the
 * task is over and its slot free in time. `n/a`: the combination has no meaning.
 */
interface Expectation {
  readonly outcomes: readonly ('same' | 'error' | 'cancelled' | 'n/a')[];
  readonly codes?: RegExp;
  readonly withinMs: number;
  readonly why: string;
}

const CANCEL_MS = 1_000;
/** Restarts, a new worker and the rest of the answer included. */
const SAME_MS = 45_000;
const ERROR_MS = 10_000;

/** All combinations, by row and column. */
export function allCells(): Cell[] {
  return PROCESSES.flatMap((process) =>
    FAULTS.flatMap((fault) => PHASES.map((phase): Cell => ({ process, fault, phase }))),
  );
}

export function expectationOf({ process, fault, phase }: Cell): Expectation {
  if (process === 'worker' && phase === 'download') return none('a worker is started when its model is there');
  if (fault === 'link' && phase === 'SSH' && (process === 'hive' || process === 'worker')) {
    return none('a node without SSH has no such phase');
  }
  if (process === 'keeper' && fault === 'SIGKILL') {
    return { outcomes: ['cancelled'], withinMs: CANCEL_MS, why: 'nobody waits for the answer any more' };
  }
  if (fault === 'SIGSTOP') {
    return { outcomes: ['same'], withinMs: SAME_MS + STOP_MS, why: 'what stands still goes on later' };
  }
  if (fault === 'link' && (process === 'keeper' || process === 'queen')) {
    const why = 'a task whose client is gone is cancelled, unless the client is back before that is noticed';
    return { outcomes: ['same', 'error'], codes: /^(CANCELLED|QUEEN_UNREACHABLE)$/, withinMs: SAME_MS, why };
  }
  if (process === 'sshd' && fault === 'SIGKILL' && phase === 'SSH') {
    // Three attempts with waits of 200 and 400 ms, which may be over before a service manager has started it again.
    const why = 'a server that refuses three attempts of a task which it had not served yet is no machine to wait for';
    return { outcomes: ['same', 'error'], codes: /^SSH_CONNECTION_TIMEOUT$/, withinMs: SAME_MS, why };
  }
  return { outcomes: ['same'], withinMs: SAME_MS, why: 'what is lost is started again, and goes on where it was' };
}

/** How long an error may take, from the end of the fault on. */
export const ERROR_WITHIN_MS = ERROR_MS;

function none(why: string): Expectation {
  return { outcomes: ['n/a'], withinMs: 0, why };
}
