import { readEvent } from '@rbee/daemon-kit/client';
import { hiveCommandEventSchema } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { followToEnd } from '../queen/follow-to-end.js';
import type { QueenClient } from '../queen/queen-client.js';

/** Starts or ends the hive of a node, shows how that goes, and resolves to how it ended. */
export async function commandHive(
  queen: QueenClient,
  what: 'startHive' | 'stopHive',
  node: string,
  { interrupt, output }: Pick<CommandContext, 'interrupt' | 'output'>,
): Promise<{ node: string; message: string }> {
  const told: string[] = [];
  const stream = await queen.commandHive(what, node);
  const { message } = await followToEnd(
    stream,
    (message) => readEvent(hiveCommandEventSchema, message),
    interrupt.signal,
    ({ actor, human, level }) => {
      told.push(human);
      output.tell(actor, human, level);
    },
  );
  // What the queen narrated already is not said twice.
  if (!output.json && !told.some((line) => line.includes(message))) output.tell('queen-rbee', message);
  return { node, message };
}

/** Says that a hive which was just started will not stay, and what to do about it. */
export function warnOfShortLife({ output, settings }: Pick<CommandContext, 'output' | 'settings'>): void {
  // A queen that is kept for a while keeps the hive for as long.
  if (settings.keepAlive > 0) return;
  output.block(
    'The queen of this command ends now, and with it the hive that it started.\n' +
      'To let both stay, start a queen first: rbee-keeper queen start',
  );
}
