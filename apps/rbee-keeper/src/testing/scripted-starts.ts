import type { EventStream, Handlers } from '@rbee/daemon-kit';
import { type QueenSpawn, type QueenSpawnEvent, type queenRoutes, RbeeError, type Worker } from '@rbee/protocol';

export const SPAWNED: Extract<QueenSpawnEvent, { type: 'end' }> = {
  type: 'end',
  worker_id: 'worker-7',
  node: 'localhost',
  url: 'http://127.0.0.1:8001',
  state: 'idle',
  pinned: false,
};

/** The workers that a scripted queen is asked to start and to pin. */
export class ScriptedStarts {
  readonly asked: QueenSpawn[] = [];
  /** Ids that no worker has. */
  readonly unknown = new Set(['worker-none']);
  readonly pins: { worker_id: string; pinned: boolean }[] = [];
  /** Answers one request: sends its events, ends the stream or throws. */
  script: (stream: EventStream<QueenSpawnEvent>, signal: AbortSignal) => Promise<void> = async (stream) => {
    const said = { actor: 'rbee-hive', action: 'make_room', target: 'w', human: 'ended an idle worker' };
    stream.send({ type: 'narration', ...said });
    stream.send({ type: 'progress', phase: 'load', layers_loaded: 16, layers_total: 32 });
    stream.send(SPAWNED);
  };

  readonly handlers: Pick<Handlers<typeof queenRoutes>, 'spawnWorker' | 'pinWorker'> = {
    spawnWorker: async (call, stream) => {
      this.asked.push(call.body);
      await this.script(stream, call.signal);
    },
    pinWorker: async ({ body }) => {
      const { worker_id } = body;
      if (this.unknown.has(worker_id)) throw new RbeeError('WORKER_NOT_FOUND', `no node has a worker ${worker_id}`);
      this.pins.push(body);
      return { ...PINNED, ...body, id: worker_id };
    },
  };
}

const PINNED: Omit<Worker, 'id' | 'worker_id' | 'pinned'> = {
  url: 'http://127.0.0.1:8001',
  model_ref: 'builtin:honeycomb',
  backend: 'cpu',
  device: 0,
  state: 'idle',
  slots_total: 4,
  slots_available: 4,
  last_activity: '2030-01-01T00:00:00Z',
  pid: 7,
  restart_count: 0,
  failed_health_checks: 0,
  owned: true,
};
