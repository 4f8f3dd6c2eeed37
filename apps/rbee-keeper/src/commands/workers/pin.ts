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
    'The beginning of an id is enough where only one worker has it. A pinned worker is started again when it crashes. ' +
    'workers shutdown ends it all the same, and so does the end of its hive.',
  async run({ id, off }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('pinWorker', { worker_id: id, pinned: !off }, { worker_id: '--id' });
    const { atWorker } = await import('../../workers/find-worker.js');
    const worker = await withQueen((queen) => atWorker(queen, id, (found) => queen.pinWorker(found, !off)));
    const { worker_id } = worker;
    if (output.json) output.object(worker);
    else output.tell('queen-rbee', off ? `${worker_id} may end when it is idle` : `${worker_id} stays loaded`);
    return 0;
  },
});
