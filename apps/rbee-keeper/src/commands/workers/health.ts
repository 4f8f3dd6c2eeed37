import { defineCommand } from '../../command.js';
import { renderTable } from '../../table.js';

export const workersHealthCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node whose workers are checked', required: true },
  },
  examples: [['rbee-keeper workers health --node localhost', 'Readiness of the workers of this machine']],
  async run({ node }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('workersHealth', { node });
    const health = await withQueen((queen) => queen.workersHealth(node));
    if (output.json) {
      output.object(health);
      return 0;
    }
    output.line(`${node}: ${health.status}`);
    if (health.workers.length === 0) {
      output.line('No workers.');
      output.block(`Start one with: rbee-keeper infer --node ${node} --prompt "hello"`);
      return 0;
    }
    const rows = health.workers.map(({ worker_id, state, ready }) => [worker_id, state, ready ? 'ready' : 'not ready']);
    for (const line of renderTable(['worker', 'state', 'readiness'], rows)) output.line(line);
    return 0;
  },
});
