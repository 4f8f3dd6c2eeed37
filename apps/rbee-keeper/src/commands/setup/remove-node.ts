import { defineCommand } from '../../command.js';
import { NODE_FLAGS } from '../../nodes/node-options.js';

export const removeNodeCommand = defineCommand({
  options: {
    name: { type: 'string', value: 'NODE', describe: 'Node that is forgotten', required: true },
  },
  examples: [['rbee-keeper setup remove-node --name workstation', 'No task goes there any more']],
  notes: 'What was installed on the machine stays there.',
  async run({ name }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('removeNode', { node_name: name }, NODE_FLAGS);
    const answer = await withQueen((queen) => queen.removeNode(name));
    if (output.json) output.object(answer);
    else output.tell('queen-rbee', answer.message);
    return 0;
  },
});
