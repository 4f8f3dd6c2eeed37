import { defineCommand } from '../../command.js';

export const modelsVariantsCommand = defineCommand({
  options: {
    model: {
      type: 'string',
      value: 'MODEL',
      describe: 'Repository of the hub: hf:ORG/REPO',
      required: true,
      positional: true,
    },
    node: { type: 'string', value: 'NODE', describe: 'Node that asks the hub (default localhost)' },
  },
  examples: [['rbee-keeper models variants hf:ORG/REPO', 'Every quantization with its size']],
  notes: 'The default is the variant that is taken when a reference names none.',
  async run({ model, node }, { env, output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    const { toModelRef } = await import('../../inference/model-argument.js');
    const reference = toModelRef(model, env, true);
    checkRequest('modelVariants', { model: reference, node }, { model: 'MODEL' });
    const answer = await withQueen((queen) => queen.modelVariants(reference, node));
    if (output.json) {
      output.object(answer);
      return 0;
    }
    const { renderVariants } = await import('../../models/render-variants.js');
    for (const line of renderVariants(answer.variants, answer.node)) output.line(line);
    output.block(`Get one with: rbee-keeper models pull ${answer.model_ref}:VARIANT`);
    return 0;
  },
});
