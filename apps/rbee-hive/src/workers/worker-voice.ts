import { createNarrator, type Exit, type Spoken } from '@rbee/daemon-kit';
import type { Narration } from '@rbee/protocol';
import type { WorkerContext } from './worker-context.js';
import { describeExit } from './worker-failures.js';
import type { WorkerIdentity } from './worker-status.js';

/** Narrates as the hive about one worker. */
export type WorkerVoice = (action: string, human: string, more?: Partial<Spoken>) => void;

/** The voice of the hive about a worker; `hear` gets each event besides the hive's own stream. */
export function createWorkerVoice(
  { workerId, modelRef, backend, device }: WorkerIdentity,
  { clock, log, publish }: WorkerContext,
  correlationId: string | undefined,
  hear: (event: Narration) => void,
): WorkerVoice {
  const narrate = createNarrator({
    service: 'rbee-hive',
    clock,
    log,
    deliver: (event) => {
      publish(event);
      hear(event);
    },
    fields: { worker_id: workerId, model_ref: modelRef, device: `${backend}:${device}`, correlation_id: correlationId },
  });
  return (action, human, more = {}) => narrate({ actor: 'rbee-hive', action, target: workerId, human, ...more });
}

/** Tells that a worker's process has ended, by a crash or as it should. */
export function sayEnded(
  say: WorkerVoice,
  { workerId }: WorkerIdentity,
  { pid, exit, crashed }: { pid: number | undefined; exit: Exit; crashed: boolean },
): void {
  const how = describeExit(exit);
  if (crashed) {
    const facts = { level: 'error', error_kind: 'worker_crash' } as const;
    say('worker_crash', `${workerId} crashed: process ${pid} ended with ${how}`, facts);
  } else say('worker_removed', `${workerId} has ended (${how})`);
}
