import { randomUUID } from 'node:crypto';
import { defineCommand } from '../../command.js';

const OVER: ReadonlySet<string> = new Set(['ended', 'failed', 'cancelled']);

export const tasksCancelCommand = defineCommand({
  options: {
    id: { type: 'string', value: 'ID', describe: 'Task to cancel, as tasks list shows it', required: true },
  },
  examples: [
    ['rbee-keeper tasks cancel --id job-7f3c0a1e', 'End one task and free its slot or its place in the queue'],
  ],
  notes: 'A task that has ended already stays as it is; the exit code is 0 all the same.',
  async run({ id }, { output, queen: control, settings }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('cancelTask', { job_id: id }, { job_id: '--id' });
    const { withRunningQueen } = await import('../../queen/with-running-queen.js');
    const { findTask, noQueenHasIt } = await import('../../tasks/find-task.js');
    const found = await withRunningQueen(control, async (queen) => {
      const task = await findTask(queen, id);
      const isOver = OVER.has(task.state);
      if (!isOver) await queen.cancelTask(task.job_id, randomUUID(), settings.call);
      return { job_id: task.job_id, cancelled: !isOver, state: isOver ? task.state : ('cancelled' as const) };
    });
    if (!found) throw noQueenHasIt(control);
    if (output.json) output.object(found);
    else if (found.cancelled) output.line(`[queen-rbee] task ${found.job_id} is cancelled`);
    else output.line(`[queen-rbee] task ${found.job_id} was over already (${found.state})`);
    return 0;
  },
});
