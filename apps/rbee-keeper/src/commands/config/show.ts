import { defineLocalCommand } from '../../command.js';

export const configShowCommand = defineLocalCommand({
  local: true,
  options: {
    origin: { type: 'boolean', describe: 'Also where each value is from, and what it overrules in the file' },
  },
  examples: [
    ['rbee-keeper config show --origin', 'Every setting, its value, and whether a file or a variable gave it'],
    ['rbee-keeper config show --json', 'For scripts; times are milliseconds'],
  ],
  notes:
    'Shows what a program would get that is started here and now, which is not always what one got that runs already. ' +
    'Of keys only the paths of their files are shown.',
  async run({ origin }, { env, globals, output }) {
    const { readConfiguration } = await import('../../configuration/read-configuration.js');
    const { findUnreadVariables } = await import('../../configuration/find-unread-variables.js');
    const { file, searched, rows } = readConfiguration(env, globals);
    for (const { name, meant } of findUnreadVariables(env.variables)) {
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      output.say('rbee-keeper', `${name} is set, and no program of rbee reads it${hint}`, 'warn');
    }
    if (output.json) {
      const settings = rows.map(({ shown: _shown, readBy, ...row }) => ({ ...row, read_by: readBy }));
      output.object({ file: file ?? null, searched, settings });
      return 0;
    }
    const used = file ? `configuration file: ${file}` : `no configuration file; looked for ${searched.join(', ')}`;
    output.say('rbee-keeper', used);
    const { renderRows } = await import('../../configuration/render-rows.js');
    for (const line of renderRows(rows, { origin, file })) output.line(line);
    return 0;
  },
});
