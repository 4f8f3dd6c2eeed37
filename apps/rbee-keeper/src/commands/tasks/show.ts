import { defineCommand } from '../../command.js';

export const tasksShowCommand = defineCommand({
  options: {
    id: { type: 'string', value: 'ID', describe: 'Task to show, as tasks list shows it', required: true },
    follow: { type: 'boolean', describe: 'Print the text as it comes, to its end' },
  },
  examples: [
    ['rbee-keeper tasks show --id job-7f3c0a1e', 'Its facts, and the text that has come so far'],
    ['rbee-keeper tasks show --id job-7f3c0a1e --follow', 'The whole text of a task that was left behind'],
  ],
  notes:
    'With --follow only the text goes to standard output. Ctrl+C leaves the task alone; one that is not kept ' +
    '(--on-disconnect keep) is cancelled when nobody else listens to it.',
  async run({ id, follow }, context) {
    const { output, queen: control } = context;
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('showTask', { job_id: id }, { job_id: '--id' });
    const { withRunningQueen } = await import('../../queen/with-running-queen.js');
    const { findTask, noQueenHasIt } = await import('../../tasks/find-task.js');
    const { renderTask } = await import('../../tasks/render-tasks.js');
    const found = await withRunningQueen(control, async (queen, connection) => {
      const task = await findTask(queen, id);
      if (!follow) return task;
      if (!output.json) output.block(renderTask(task).join('\n'));
      output.separate();
      const { followTask } = await import('../../tasks/follow-task.js');
      await followTask(context, connection, task.job_id);
      return output.json ? queen.showTask(task.job_id) : task;
    });
    if (!found) throw noQueenHasIt(control);
    if (output.json) {
      output.object(found);
    } else if (!follow) {
      for (const line of renderTask(found)) output.line(line);
      if (found.text !== '') output.text(`\n${found.text.replace(/[\r\n]+$/, '')}\n`);
    }
    return 0;
  },
});
