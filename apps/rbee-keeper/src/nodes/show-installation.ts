import { formatDuration, type IncomingStream, readEvent } from '@rbee/daemon-kit/client';
import { installEventSchema } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { ProgressDisplay } from '../progress/progress-display.js';
import { followToEnd } from '../queen/follow-to-end.js';

/** Shows the stages of an installation as they come, and its result. */
export async function showInstallation(
  stream: IncomingStream,
  { env, interrupt, output }: Pick<CommandContext, 'env' | 'interrupt' | 'output'>,
): Promise<void> {
  const progress = new ProgressDisplay(output, env.clock);
  const told: string[] = [];
  const end = await followToEnd(
    stream,
    (message) => readEvent(installEventSchema, message),
    interrupt.signal,
    (event) => {
      if (event.type === 'progress') return progress.update(event);
      if (event.action === 'install_done') told.push(event.human);
      output.tell(event.actor, event.human, event.level);
    },
  );
  const { type: _type, ...result } = end;
  if (output.json) return output.object(result);
  // What the queen narrated already is not said twice.
  if (told.some((line) => line.includes(result.release))) return;
  const { node_name: node, release, unchanged, duration_ms } = result;
  const what = unchanged ? `${node} has release ${release} already` : `${node} now uses release ${release}`;
  output.tell('queen-rbee', `${what} (${formatDuration(duration_ms)})`);
}
