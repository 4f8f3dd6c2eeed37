import { readEvent } from '@rbee/daemon-kit/client';
import { type QueenSpawnEvent, queenSpawnEventSchema, RbeeError } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { ProgressDisplay } from '../progress/progress-display.js';
import { followToEnd } from '../queen/follow-to-end.js';
import type { QueenClient, SpawnWorkerInput } from '../queen/queen-client.js';

const NEXT = 'rbee-keeper workers list';

/**
 * Has a worker started ahead of any task and shows how that goes. Throws CANCELLED when the user gives up: a worker whose
 * process had started by then goes on.
 */
export async function spawnWorker(
  queen: QueenClient,
  request: SpawnWorkerInput,
  { env, interrupt, output }: Pick<CommandContext, 'env' | 'interrupt' | 'output'>,
): Promise<void> {
  const progress = new ProgressDisplay(output, env.clock);
  try {
    const end = await followToEnd(
      await queen.spawnWorker(request),
      (message) => readEvent(queenSpawnEventSchema, message),
      interrupt.signal,
      (event) => {
        if (event.type === 'narration') output.say(event.actor, event.human, event.level);
        else progress.update(event);
      },
      NEXT,
    );
    const { type: _type, ...worker } = end;
    if (output.json) output.object(worker);
    else output.tell('queen-rbee', describeEnd(end));
  } catch (error) {
    throw interrupt.signal.aborted ? toCanceledError() : error;
  }
}

function describeEnd({ worker_id, node, state, pinned, url }: Extract<QueenSpawnEvent, { type: 'end' }>): string {
  return `${worker_id} is ready on ${node} (${state}${pinned ? ', pinned' : ''}): ${url}`;
}

function toCanceledError(): RbeeError {
  return new RbeeError('CANCELLED', 'canceled by the user', {
    suggestion: `a worker that had started by then goes on; see: ${NEXT}`,
  });
}
