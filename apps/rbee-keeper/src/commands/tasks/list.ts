import type { TaskState } from '@rbee/protocol';
import { defineCommand } from '../../command.js';

export const tasksListCommand = defineCommand({
  options: {
    state: {
      type: 'string',
      value: 'STATE',
      describe: 'Tasks in this state only: starting, queued, generating, ended, failed or cancelled',
    },
  },
  examples: [
    ['rbee-keeper tasks list', 'What runs, what waits, and what has ended in the last minutes'],
    ['rbee-keeper tasks list --state queued', 'What waits for a free slot'],
    ['rbee-keeper tasks list --json', 'The same as one JSON object, with whole ids, clients and deadlines'],
  ],
  notes: 'No queen is started for this. The beginning of an id is enough for tasks show and tasks cancel.',
  async run({ state }, { env, output, queen: control }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('listTasks', { state });
    const { withRunningQueen } = await import('../../queen/with-running-queen.js');
    const tasks = await withRunningQueen(control, (queen) => queen.listTasks(state as TaskState | undefined));
    if (output.json) {
      output.object({ tasks: tasks ?? [] });
    } else if (tasks === undefined) {
      output.line(`No tasks: no queen answers at ${control.address.url}.`);
    } else if (tasks.length === 0) {
      output.line(state === undefined ? 'No tasks.' : `No tasks that are ${state}.`);
    } else {
      const { renderTasks } = await import('../../tasks/render-tasks.js');
      for (const line of renderTasks(tasks, env.clock.now())) output.line(line);
    }
    if (!output.json && !tasks?.length && state === undefined) {
      output.block('Start one with: rbee-keeper infer --prompt "hello"');
    }
    return 0;
  },
});
