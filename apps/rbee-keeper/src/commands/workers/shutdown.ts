import { defineCommand } from '../../command.js';

export const workersShutdownCommand = defineCommand({
  options: {
    id: { type: 'string', value: 'ID', describe: 'Worker to stop, as workers list shows it', required: true },
  },
  examples: [
    ['rbee-keeper workers shutdown --id worker-7f3c0a1e', 'Stop one worker; a job that runs is finished first'],
  ],
  notes: 'The beginning of an id is enough where only one worker has it.',
  async run({ id }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('shutdownWorker', { worker_id: id }, { worker_id: '--id' });
    const { atWorker } = await import('../../workers/find-worker.js');
    const stopped = await withQueen((queen) =>
      atWorker(queen, id, async (worker_id) => ({ ...(await queen.shutdownWorker(worker_id)), worker_id })),
    );
    if (output.json) output.object(stopped);
    else output.line(`[queen-rbee] shutdown command sent to ${stopped.worker_id}`);
    return 0;
  },
});
