import { readEvent } from '@rbee/daemon-kit/client';
import { type PullEvent, type PullRequest, pullEventSchema, RbeeError } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { ProgressDisplay } from '../progress/progress-display.js';
import { sizeText } from '../progress/size-text.js';
import { followToEnd } from '../queen/follow-to-end.js';
import type { QueenClient } from '../queen/queen-client.js';

/**
 * Brings a model to a node and shows how that goes. Throws CANCELLED, with the command that goes on, when the user gives
 * up while bytes come.
 */
export async function pullModel(
  queen: QueenClient,
  request: PullRequest,
  { env, interrupt, output }: Pick<CommandContext, 'env' | 'interrupt' | 'output'>,
): Promise<void> {
  const progress = new ProgressDisplay(output, env.clock);
  let isUnderWay = false;
  try {
    const end = await followToEnd(
      await queen.pullModel(request),
      (message) => readEvent(pullEventSchema, message),
      interrupt.signal,
      (event) => {
        if (event.type === 'narration') return output.tell(event.actor, event.human, event.level);
        isUnderWay ||= (event.bytes_downloaded ?? 0) > 0;
        progress.update(event);
      },
      'rbee-keeper models list',
    );
    const { type: _type, ...result } = end;
    if (output.json) output.object(result);
    else output.tell('model-provisioner', describeEnd(end));
  } catch (error) {
    throw isUnderWay && interrupt.signal.aborted ? toResumableError(request) : error;
  }
}

/** How long it took was narrated. */
function describeEnd({ model, node, source, from }: Extract<PullEvent, { type: 'end' }>): string {
  const size = sizeText(model.size_bytes);
  if (source === 'catalog') return `${model.model_ref} was on ${node} already (${size})`;
  const how = source === 'node' ? `copied from ${from ?? 'another node'}` : 'downloaded from the hub';
  return `${model.model_ref} is on ${node} now: ${how}, ${size}`;
}

function toResumableError({ model, node }: PullRequest): RbeeError {
  const where = node === undefined ? '' : ` --node ${node}`;
  return new RbeeError('CANCELLED', 'canceled by the user', {
    details: { model },
    suggestion: `what has come is kept; go on with: rbee-keeper models pull ${model}${where}`,
  });
}
