import { RbeeError } from '@rbee/protocol';

export interface FailedStart {
  readonly node: string;
  readonly port: number;
  /** What happened, as the rest of a sentence about the hive. */
  readonly why: string;
  /** What the hive wrote last, oldest first, without secrets. */
  readonly lastLines: readonly string[];
  /** Nothing more could be written to the disk with its output. */
  readonly diskFull?: boolean;
  /** Its process was ended from outside: another start may well do. */
  readonly killed?: boolean;
  /** What to do, where the hive's log would tell nothing. */
  readonly suggestion?: string;
}

/** HIVE_START_FAILED with the cause that the hive itself named. */
export function hiveStartFailed(start: FailedStart): RbeeError {
  const { node, port, why, lastLines, diskFull = false, killed = false, suggestion } = start;
  const cause = diskFull ? 'the disk with its logs is full' : findCause(lastLines);
  return new RbeeError('HIVE_START_FAILED', `the hive of ${node} ${why}${cause ? `: ${cause}` : ''}`, {
    details: { node, port, last_output: lastLines, ...(killed ? { killed } : {}) },
    suggestion:
      suggestion ??
      (diskFull
        ? 'free some space (df -h ~/.rbee shows how much there is), then try again'
        : 'look at rbee-hive.out.log in the log folder (~/.rbee/logs) of that machine, then try again'),
  });
}

/** Whether the hive said itself what was wrong with it. */
export function saysWhatIsWrong(lines: readonly string[]): boolean {
  return lines.some((text) => /\bError: /.test(text));
}

/** The line in which the hive says what is wrong; what follows it is advice or a stack. Else the last line. */
function findCause(lines: readonly string[]): string | undefined {
  const line = lines.findLast((text) => /\bError: /.test(text)) ?? lines.at(-1);
  return line?.trim().replace(/^\[rbee-hive\] Error: /, '');
}
