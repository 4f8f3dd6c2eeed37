import { defineCommand } from '../../command.js';

export const hiveStartCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node whose hive is started', required: true, alias: 'host' },
  },
  examples: [['rbee-keeper hive start --node workstation', 'The first task there then has less to wait for']],
  notes: 'A hive that runs already is used as it is. Tasks start hives by themselves; a queen that stays keeps them.',
  async run({ node }, context) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('startHive', { node });
    const { commandHive, warnOfShortLife } = await import('../../nodes/command-hive.js');
    await context.withQueen(async (queen, isEphemeral) => {
      const result = await commandHive(queen, 'startHive', node, context);
      if (context.output.json) context.output.object(result);
      if (isEphemeral) warnOfShortLife(context);
    });
    return 0;
  },
});
