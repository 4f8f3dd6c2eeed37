import { defineCommand } from '../../command.js';

export const hiveStopCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node whose hive is stopped', required: true, alias: 'host' },
  },
  examples: [['rbee-keeper hive stop --node workstation', 'Its workers end too, and their memory is free']],
  notes:
    'Only a hive that the queen started is stopped; one that was started on its machine is left to whoever did it.',
  async run({ node }, context) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('stopHive', { node });
    const { commandHive } = await import('../../nodes/command-hive.js');
    await context.withQueen(async (queen) => {
      const result = await commandHive(queen, 'stopHive', node, context);
      if (context.output.json) context.output.object(result);
    });
    return 0;
  },
});
