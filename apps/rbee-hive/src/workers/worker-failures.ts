import { type Exit, formatDuration, redact } from '@rbee/daemon-kit';
import { fromErrorBody, RbeeError, type ReadyCallback } from '@rbee/protocol';

interface Facts {
  workerId: string;
  pid?: number | undefined;
  /** Newest output of the worker, oldest first. */
  lastLines: readonly string[];
}

const LOOK_INTO_LOG = (workerId: string) =>
  `look into the worker's log: rbee-keeper logs --node localhost --worker ${workerId}`;

/** A worker's process that ended by itself, for the record. */
export interface WorkerCrash {
  readonly time: string;
  readonly worker_id: string;
  readonly model_ref: string;
  readonly pid: number | undefined;
  readonly exit_code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it was doing. */
  readonly state: string;
  /** Jobs that were running. */
  readonly jobs: number;
  /** What the kernel says, when it killed the process for want of memory. */
  readonly killed_for_memory: string | undefined;
  readonly last_lines: readonly string[];
}

const FREE_MEMORY = 'free some memory, use a smaller quantization, or a smaller context; ';

/** A worker that served jobs has ended by itself. */
export function crashed(
  facts: Facts,
  exit: Exit,
  { jobs, forMemory }: { jobs: number; forMemory: string | undefined },
) {
  const { worker_id, pid, last_output: last_lines } = factsOf(facts);
  const details = { worker_id, pid, exit_code: exit.code, signal: exit.signal, jobs, last_lines };
  const suggestion = LOOK_INTO_LOG(facts.workerId);
  if (forMemory !== undefined) {
    return new RbeeError('OUT_OF_MEMORY', `the system killed the worker for want of memory (${forMemory})`, {
      details,
      suggestion: `${FREE_MEMORY}${suggestion}`,
    });
  }
  const last = exit.signal === null ? explain(facts.lastLines.filter(tellsOfError)) : undefined;
  return new RbeeError('WORKER_CRASHED', `the worker ended with ${describeExit(exit)}${last ? `: ${last}` : ''}`, {
    details,
    suggestion,
  });
}

/** What is kept about it. */
export function crashRecord(
  facts: Facts,
  exit: Exit,
  work: { time: string; modelRef: string; state: string; jobs: number; forMemory: string | undefined },
): WorkerCrash {
  const { worker_id, pid, last_output: last_lines } = factsOf(facts);
  const { time, modelRef: model_ref, state, jobs, forMemory: killed_for_memory } = work;
  const { code: exit_code, signal } = exit;
  return { time, worker_id, model_ref, pid, exit_code, signal, state, jobs, killed_for_memory, last_lines };
}

/** The process ended before it was ready for jobs; `forMemory` is what the kernel says about it. */
export function endedEarly(facts: Facts, exit: Exit, phase: 'starting' | 'loading', forMemory?: string): RbeeError {
  if (forMemory !== undefined) {
    return new RbeeError('OUT_OF_MEMORY', `the system killed the worker for want of memory while it was ${phase}`, {
      details: { ...factsOf(facts), exit_code: exit.code, signal: exit.signal, phase, evidence: forMemory },
      suggestion: `${FREE_MEMORY}${LOOK_INTO_LOG(facts.workerId)}`,
    });
  }
  const how = describeExit(exit);
  const last = explain(facts.lastLines);
  const when = phase === 'starting' ? 'before it was reachable' : 'while it was loading the model';
  const starved =
    exit.signal === 'SIGKILL'
      ? 'the system may have ended it for lack of memory: free some, or use a smaller quantization; '
      : '';
  return new RbeeError('WORKER_STARTUP_FAILED', `the worker ended with ${how} ${when}${last ? `: ${last}` : ''}`, {
    details: { ...factsOf(facts), exit_code: exit.code, signal: exit.signal, phase },
    suggestion: `${starved}${LOOK_INTO_LOG(facts.workerId)}`,
  });
}

/** The process runs, but its server never called back. */
export function neverCalledBack(facts: Facts, waitedMs: number): RbeeError {
  const last = explain(facts.lastLines);
  return new RbeeError(
    'WORKER_STARTUP_FAILED',
    `the worker did not report within ${formatDuration(waitedMs)} of its start${last ? `: ${last}` : ''}`,
    {
      details: { ...factsOf(facts), timeout_ms: waitedMs, phase: 'starting' },
      suggestion: LOOK_INTO_LOG(facts.workerId),
    },
  );
}

/** The model is still not loaded. */
export function loadedTooSlowly(facts: Facts, waitedMs: number, layers: { loaded: number; total: number } | undefined) {
  const progress = layers ? `${layers.loaded} of ${layers.total} layers are loaded` : 'no layer is loaded';
  return new RbeeError('LOADING_TIMEOUT', `the model was not loaded within ${formatDuration(waitedMs)}: ${progress}`, {
    details: {
      ...factsOf(facts),
      state: 'loading',
      layers_loaded: layers?.loaded ?? 0,
      layers_total: layers?.total,
      elapsed_ms: waitedMs,
    },
    suggestion: LOOK_INTO_LOG(facts.workerId),
  });
}

/** The worker itself said that it could not load the model. */
export function reportedFailure(facts: Facts, error: ReadyCallback['error']): RbeeError {
  const reported = error && fromErrorBody(error);
  const message = error?.message ?? 'the worker could not load the model and gave no reason';
  return new RbeeError(reported?.code ?? 'MODEL_LOAD_FAILED', message, {
    details: { worker_id: facts.workerId, ...reported?.details },
    suggestion: reported?.suggestion ?? LOOK_INTO_LOG(facts.workerId),
  });
}

/** Someone asked for the end of a worker that others still waited for. */
export function stoppedEarly(facts: Facts, reason: string): RbeeError {
  return new RbeeError('WORKER_STARTUP_FAILED', `the worker was stopped before it was ready (${reason})`, {
    details: factsOf(facts),
    suggestion: 'repeat the request to start another worker',
  });
}

/** `exit code 1` or `signal SIGKILL`; how a process ended that was no child of this hive, nobody knows. */
export function describeExit({ code, signal }: Exit): string {
  if (code === null && signal === null) return 'an unknown exit code';
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}

function factsOf({ workerId, pid, lastLines }: Facts) {
  return { worker_id: workerId, pid, last_output: lastLines.map(presentable) };
}

/** The newest line that tells of an error, or else the newest one. */
function explain(lines: readonly string[]): string | undefined {
  const texts = lines.map((line) => line.trim()).filter((line) => line !== '' && !/^(at\s|Node\.js v|\^|})/.test(line));
  const line = texts.findLast(tellsOfError) ?? texts.at(-1);
  return line === undefined ? undefined : presentable(messageOf(line)).slice(0, 300);
}

function tellsOfError(line: string): boolean {
  return /"level":"error"|\berror\b/i.test(line);
}

/** What a log line in JSON says; any other line as it is. */
function messageOf(line: string): string {
  try {
    const entry = JSON.parse(line) as { msg?: unknown; human?: unknown; error?: { message?: unknown } } | null;
    const text = [entry?.error?.message, entry?.msg, entry?.human].find((part) => typeof part === 'string');
    return text === undefined ? line : String(text);
  } catch {
    return line;
  }
}

/** Without secrets, and with absolute paths cut to their last part: answers don't tell how this machine is laid out. */
function presentable(line: string): string {
  return redact(line).replace(
    /(?:file:\/\/)?(?:\/[\w.@+-]+){2,}/g,
    (path) => `…/${path.slice(path.lastIndexOf('/') + 1)}`,
  );
}
