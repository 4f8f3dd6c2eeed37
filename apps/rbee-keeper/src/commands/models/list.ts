import { defineCommand } from '../../command.js';

export const modelsListCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Models of this node only; its hive is started if need be' },
  },
  examples: [
    ['rbee-keeper models list', 'This machine, and every node whose hive runs'],
    ['rbee-keeper models list --node workstation', 'One node'],
    ['rbee-keeper models list --json', 'The same as one JSON object, with digests and memory figures'],
  ],
  notes: 'Downloads that run are in the list too, with what they have reached.',
  async run({ node }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('listModels', { node });
    const answer = await withQueen((queen) => queen.listModels(node));
    for (const { node: name, reason } of answer.unasked) {
      output.say('queen-rbee', `${name} was left out: ${reason}`, 'warn');
    }
    for (const { node: name, text } of answer.warnings ?? []) output.say('rbee-hive', `${name}: ${text}`, 'warn');
    if (output.json) {
      output.object(answer);
    } else if (answer.models.length + answer.downloads.length === 0) {
      const asked = answer.unasked.length > 0 ? ' on the nodes that could be asked' : '';
      output.line(node === undefined ? `No models${asked}.` : `No models on ${node}.`);
      const where = node === undefined ? '' : ` --node ${node}`;
      output.block(`Get one with: rbee-keeper models pull hf:ORG/REPO${where}`);
    } else {
      const { renderModels } = await import('../../models/render-models.js');
      for (const line of renderModels(answer)) output.line(line);
    }
    return 0;
  },
});
