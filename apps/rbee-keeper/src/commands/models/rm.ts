import { defineCommand } from '../../command.js';

export const modelsRemoveCommand = defineCommand({
  options: {
    model: {
      type: 'string',
      value: 'MODEL',
      describe: 'Its reference, its id or the path of its file',
      required: true,
      positional: true,
    },
    node: { type: 'string', value: 'NODE', describe: 'Node that loses it', default: 'localhost' },
  },
  examples: [
    ['rbee-keeper models rm hf:ORG/REPO:Q8_0', 'Free its place on this machine'],
    ['rbee-keeper models rm hf:ORG/REPO --node workstation', 'On another one'],
  ],
  notes: 'A model that a worker has loaded stays, and so does a file outside the models folder.',
  async run({ model, node }, { env, output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('removeModel', { node });
    const { requireModels, WantedModel } = await import('../../models/find-models.js');
    const wanted = new WantedModel(model, env);
    const removal = await withQueen(async (queen) => {
      const [found] = await requireModels(queen, wanted, node);
      return queen.removeModel(found?.id ?? model, node);
    });
    if (output.json) {
      output.object(removal);
      return 0;
    }
    const { describeRemoval } = await import('../../models/describe-removal.js');
    output.tell('rbee-hive', describeRemoval(removal));
    return 0;
  },
});
