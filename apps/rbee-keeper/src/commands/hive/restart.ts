import { defineCommand } from '../../command.js';

export const hiveRestartCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node whose hive is restarted', required: true, alias: 'host' },
  },
  examples: [['rbee-keeper hive restart --node workstation', 'After an upgrade: the new release takes over']],
  notes: 'Only a hive that the queen started is stopped; one that was started on its machine goes on as it is.',
  async run({ node }, context) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('startHive', { node });
    const { commandHive, warnOfShortLife } = await import('../../nodes/command-hive.js');
    await context.withQueen(async (queen, isEphemeral) => {
      const stopped = await commandHive(queen, 'stopHive', node, context);
      const started = await commandHive(queen, 'startHive', node, context);
      if (context.output.json) context.output.object({ node, stopped: stopped.message, started: started.message });
      if (isEphemeral) warnOfShortLife(context);
    });
    return 0;
  },
});
