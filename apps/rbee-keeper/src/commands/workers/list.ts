import { defineCommand } from '../../command.js';
import { renderTable } from '../../table.js';

export const workersListCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Workers of this node only' },
  },
  examples: [
    ['rbee-keeper workers list', 'Every worker of every node'],
    ['rbee-keeper workers list --node workstation', 'Those of one node'],
    ['rbee-keeper workers list --json', 'The same as one JSON object'],
  ],
  async run({ node }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('listWorkers', { node });
    const [workers, hives] = await withQueen((queen) => Promise.all([queen.listWorkers(node), queen.listHives(node)]));
    const away = hives.filter(({ status }) => status !== 'reachable');
    for (const { node: name, status, reason } of away) {
      const what = status === 'unreachable' ? 'cannot be reached' : 'has not answered yet';
      output.say('queen-rbee', `${name} ${what}${reason === undefined ? '' : `: ${reason}`}`, 'warn');
    }
    if (output.json) {
      output.object({ workers });
    } else if (workers.length === 0) {
      output.line(node === undefined ? 'No workers.' : `No workers on ${node}.`);
      const where = node === undefined ? '' : ` --node ${node}`;
      // Advice that cannot work is none.
      const allAway = away.length > 0 && away.length === hives.length;
      if (!allAway) output.block(`Start one with: rbee-keeper infer${where} --prompt "hello"`);
    } else {
      const headings = ['worker', 'node', 'state', 'free', 'device', 'model', 'url'];
      const rows = workers.map((worker) => [
        worker.worker_id,
        worker.node,
        worker.pinned ? `${worker.state}, pinned` : worker.state,
        `${worker.slots_available}/${worker.slots_total}`,
        `${worker.backend}:${worker.device}`,
        worker.model_ref,
        worker.url,
      ]);
      for (const line of renderTable(headings, rows)) output.line(line);
    }
    return 0;
  },
});
