import { defineCommand } from '../../command.js';

export const modelsPullCommand = defineCommand({
  options: {
    model: {
      type: 'string',
      value: 'MODEL',
      describe: 'hf:ORG/REPO, or hf:ORG/REPO:VARIANT with a quantization or a file name',
      required: true,
      positional: true,
    },
    node: { type: 'string', value: 'NODE', describe: 'Node that gets it (default localhost)' },
  },
  examples: [
    ['rbee-keeper models pull hf:ORG/REPO', 'The usual variant (Q4_K_M), for this machine'],
    ['rbee-keeper models pull hf:ORG/REPO:Q8_0 --node workstation', 'A certain one, for another machine'],
  ],
  notes:
    'A model that another node has is copied from there. What has come is kept when it breaks off or Ctrl+C is pressed: the same command goes on from there. infer and chat do the same by themselves.',
  async run({ model, node }, context) {
    const { checkRequest } = await import('../../check-request.js');
    const { toModelRef } = await import('../../inference/model-argument.js');
    // Whether a path is right is for the node to say.
    const request = { model: toModelRef(model, context.env, true), node };
    checkRequest('pullModel', request, { model: 'MODEL' });
    const { pullModel } = await import('../../models/pull-model.js');
    await context.withQueen((queen) => pullModel(queen, request, context));
    return 0;
  },
});
