import { defineCommand } from '../../command.js';

export const modelsScanCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node that looks', default: 'localhost' },
  },
  examples: [
    ['rbee-keeper models scan', 'After files were put into the models folder, or taken out of it'],
    ['rbee-keeper models scan --node workstation', 'On another machine'],
  ],
  notes: 'New files are read once from beginning to end, which takes a while where they are large.',
  async run({ node }, { output, withQueen }) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('scanModels', { node });
    const found = await withQueen((queen) => {
      if (!output.json) output.sayForNow('rbee-hive', `looking through the models of ${node}`);
      return queen.scanModels(node);
    });
    if (output.json) {
      output.object(found);
      return 0;
    }
    const { renderScan } = await import('../../models/render-scan.js');
    for (const line of renderScan(found)) output.tell('rbee-hive', line);
    return 0;
  },
});
