import { defineCommand } from '../../command.js';

export const workersShutdownCommand = defineCommand({
  options: {
    id: { type: 'string', value: 'ID', describe: 'Worker to stop, as workers list shows it', required: true },
  },
  examples: [
    ['rbee-keeper workers shutdown --id worker-7f3c0a1e', 'Stop one worker; a job that runs is finished first'],
  ],
  async run({ id }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('shutdownWorker', { worker_id: id }, { worker_id: '--id' });
    const answer = await withQueen((queen) => queen.shutdownWorker(id));
    if (output.json) output.object({ ...answer, worker_id: id });
    else output.line(`[queen-rbee] shutdown command sent to ${id}`);
    return 0;
  },
});
