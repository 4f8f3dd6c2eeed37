import { defineCommand } from '../../command.js';

export const queenStartCommand = defineCommand({
  options: {},
  examples: [
    ['rbee-keeper queen start', 'Commands that follow are faster: queen, hive and workers stay'],
    ['RBEE_QUEEN_PORT=8090 rbee-keeper queen start', 'On another port'],
  ],
  notes: 'The queen runs on in the background until rbee-keeper queen stop.',
  async run(_options, { queen, interrupt, output }) {
    const { startPersistentQueen } = await import('../../queen/persistent-queen.js');
    const { found, alreadyRan } = await startPersistentQueen(queen, interrupt.signal);
    const { version, pid } = found.health;
    const { url } = queen.address;
    if (output.json) output.object({ running: true, already_ran: alreadyRan, url, pid, version });
    else
      output.line(
        `[rbee-keeper] queen-rbee ${alreadyRan ? 'runs already' : 'runs'} at ${url} (pid ${pid ?? 'unknown'})`,
      );
    return 0;
  },
});
