import { defineCommand } from '../../command.js';
import { nodeOptions } from '../../nodes/node-options.js';
import { UsageError } from '../../usage-error.js';

export const updateNodeCommand = defineCommand({
  options: {
    name: { type: 'string', value: 'NODE', describe: 'Node that is changed', required: true },
    ...nodeOptions,
  },
  examples: [
    ['rbee-keeper setup update-node --name workstation --ssh-host 192.168.1.21', 'The machine has another address'],
    [
      'rbee-keeper setup update-node --name workstation --backends cuda,cpu --devices cuda=2,cpu=1',
      'It has other GPUs',
    ],
    [
      'rbee-keeper setup update-node --name workstation --host-key SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDbVBLsmvuu4KUn4Vo',
      'It was set up anew and shows another host key',
    ],
  ],
  notes:
    'What is not named stays as it is. The machine is contacted with the new values, and they are stored only if that works.',
  async run({ name, ...options }, context) {
    if (Object.values(options).every((value) => value === undefined)) {
      throw new UsageError('nothing to change: give at least one flag beside --name', context.entry);
    }
    const { toNodeRequest } = await import('../../nodes/to-node-request.js');
    const { showNodeChange } = await import('../../nodes/show-node-change.js');
    const body = toNodeRequest('updateNode', name, options, context);
    await context.withQueen(async (queen) => showNodeChange(await queen.updateNode(body), context));
    return 0;
  },
});
