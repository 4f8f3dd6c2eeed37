import { createNarrator, type Spoken } from '@rbee/daemon-kit';
import type { Narration } from '@rbee/protocol';
import type { WorkerContext } from './worker.js';
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
