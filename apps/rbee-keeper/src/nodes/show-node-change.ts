import { type IncomingStream, readEvent } from '@rbee/daemon-kit/client';
import { type NodeAnswer, nodeEventSchema } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { followToEnd } from '../queen/follow-to-end.js';

/** Shows how the addition or change of a node goes, and its result: the confirmation and the pinned host key. */
export async function showNodeChange(
  stream: IncomingStream,
  { interrupt, output }: Pick<CommandContext, 'interrupt' | 'output'>,
): Promise<void> {
  const told: string[] = [];
  const end = await followToEnd(
    stream,
    (message) => readEvent(nodeEventSchema, message),
    interrupt.signal,
    ({ actor, human, level }) => {
      told.push(human);
      output.tell(actor, human, level);
    },
  );
  if (output.json) return output.object(toNodeResult(end));
  const { message, host_key_fingerprint: hostKey } = end;
  // What the queen narrated already is not said twice.
  const isTold = (text: string) => told.some((line) => line.includes(text));
  if (!isTold(message)) output.tell('queen-rbee', message);
  if (hostKey !== undefined && !isTold(hostKey)) {
    output.tell('queen-rbee', `host key of ${end.node_name}: ${hostKey}`);
  }
}

/** The answer for programs, without what only tells the end of a stream. */
function toNodeResult({ success, message, node_name, host_key_fingerprint }: NodeAnswer): NodeAnswer {
  return { success, message, node_name, host_key_fingerprint };
}
