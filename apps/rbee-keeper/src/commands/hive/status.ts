import { defineCommand } from '../../command.js';

export const hiveStatusCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'This node only', alias: 'host' },
  },
  examples: [
    ['rbee-keeper hive status', 'Every node, this machine included'],
    ['rbee-keeper hive status --node workstation --json', 'One node, as a JSON object'],
  ],
  notes: 'Shows what the queen knows now; the exit code is 0 also for a node that cannot be reached.',
  async run({ node }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('listHives', { node });
    const hives = await withQueen((queen) => queen.listHives(node));
    if (output.json) {
      output.object({ hives });
      return 0;
    }
    const { renderHives } = await import('../../nodes/render-hives.js');
    for (const line of renderHives(hives)) output.line(line);
    return 0;
  },
});
