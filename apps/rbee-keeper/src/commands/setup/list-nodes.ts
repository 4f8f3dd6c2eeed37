import { defineCommand } from '../../command.js';

export const listNodesCommand = defineCommand({
  options: {},
  examples: [
    ['rbee-keeper setup list-nodes', 'Every registered machine, with what is known of it'],
    ['rbee-keeper setup list-nodes --json', 'The same as one JSON object'],
  ],
  notes: 'This machine, localhost, is always there and needs no set-up: rbee-keeper hive status shows it too.',
  async run(_options, { output, withQueen }) {
    const nodes = await withQueen((queen) => queen.listNodes());
    if (output.json) {
      output.object({ nodes });
    } else if (nodes.length === 0) {
      output.line('No nodes are registered.');
      output.block('Add one with: rbee-keeper setup add-node --name NODE --ssh-host HOST');
    } else {
      const { renderNode } = await import('../../nodes/render-node.js');
      output.line('Registered rbee-hive nodes:');
      for (const node of nodes) for (const line of ['', ...renderNode(node)]) output.line(line);
    }
    return 0;
  },
});
