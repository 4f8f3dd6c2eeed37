import { defineCommand } from '../../command.js';
import { renderTable } from '../../table.js';

export const workersListCommand = defineCommand({
  options: {
    node: { type: 'string', describe: 'Workers of this node only' },
  },
  examples: [
    ['$0 workers list', 'Every worker of every node'],
    ['$0 workers list --json', 'The same as one JSON object'],
  ],
  async run({ node }, { output, withQueen }) {
    const workers = await withQueen((queen) => queen.listWorkers(node));
    if (output.json) {
      output.object({ workers });
    } else if (workers.length === 0) {
      output.line(node === undefined ? 'No workers.' : `No workers on ${node}.`);
      output.block('Start one with: rbee-keeper infer --prompt "hello"');
    } else {
      const headings = ['worker', 'node', 'state', 'slots', 'device', 'model', 'url'];
      const rows = workers.map((worker) => [
        worker.worker_id,
        worker.node,
        worker.state,
        `${worker.slots_total - worker.slots_available}/${worker.slots_total}`,
        `${worker.backend}:${worker.device}`,
        worker.model_ref,
        worker.url,
      ]);
      for (const line of renderTable(headings, rows)) output.line(line);
    }
    return 0;
  },
});
