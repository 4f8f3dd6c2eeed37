import { defineCommand } from '../../command.js';

export const workersPinCommand = defineCommand({
  options: {
    id: { type: 'string', value: 'ID', describe: 'Worker, as workers list shows it', required: true },
    off: { type: 'boolean', describe: 'Let it go: it ends again when it is idle, or to make room for others' },
  },
  examples: [
    ['rbee-keeper workers pin --id worker-7f3c0a1e', 'Keep one worker loaded'],
    ['rbee-keeper workers pin --id worker-7f3c0a1e --off', 'Treat it like any other again'],
  ],
  notes:
    'A pinned worker is started again when it crashes. workers shutdown ends it all the same, and so does the end of its hive.',
  async run({ id, off }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('pinWorker', { worker_id: id, pinned: !off }, { worker_id: '--id' });
    const worker = await withQueen((queen) => queen.pinWorker(id, !off));
    if (output.json) output.object(worker);
    else output.tell('queen-rbee', off ? `${id} may end when it is idle` : `${id} stays loaded`);
    return 0;
  },
});
