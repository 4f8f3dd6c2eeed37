import { defineLocalCommand } from '../../command.js';

export const configExampleCommand = defineLocalCommand({
  local: true,
  options: {},
  examples: [['rbee-keeper config example', 'A file to begin with, which changes nothing yet']],
  notes:
    'Every key has its default or an example, behind a #: write the text to ~/.config/rbee/config.toml and change it there. ' +
    'With --json it is the field example of an object.',
  async run(_options, { output }) {
    const { renderExample } = await import('../../configuration/render-example.js');
    const text = renderExample();
    if (output.json) output.object({ example: text });
    else for (const line of text.trimEnd().split('\n')) output.line(line);
    return 0;
  },
});
