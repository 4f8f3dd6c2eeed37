import { defineCommand } from '../../command.js';

export const modelsShowCommand = defineCommand({
  options: {
    model: {
      type: 'string',
      value: 'MODEL',
      describe: 'Its reference, its id or the path of its file',
      required: true,
      positional: true,
    },
    node: { type: 'string', value: 'NODE', describe: 'Look on this node only; left out: on all whose hive runs' },
  },
  examples: [
    ['rbee-keeper models show builtin:honeycomb', 'Facts, files, memory, and which nodes have it'],
    ['rbee-keeper models show hf:ORG/REPO:Q4_K_M --node workstation', 'What one node has'],
  ],
  notes:
    'Memory is estimated from the header of the file, for the usual context and slots of the node; what the newest worker really took stands beside it.',
  async run({ model, node }, { env, output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('listModels', { node });
    const { requireModels, WantedModel } = await import('../../models/find-models.js');
    const wanted = new WantedModel(model, env);
    const models = await withQueen((queen) => requireModels(queen, wanted, node));
    if (output.json) {
      output.object({ models });
      return 0;
    }
    const { renderModel } = await import('../../models/render-model.js');
    for (const line of renderModel(models)) output.line(line);
    return 0;
  },
});
