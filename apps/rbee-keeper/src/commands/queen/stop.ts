import { defineCommand } from '../../command.js';

export const queenStopCommand = defineCommand({
  options: {},
  examples: [
    ['rbee-keeper queen stop', 'Running tasks are canceled; hives and workers that the queen started end too'],
  ],
  async run(_options, { queen, output }) {
    const stopped = await queen.stop();
    const { url } = queen.address;
    if (output.json) output.object({ running: false, stopped: stopped !== undefined, url, pid: stopped?.pid });
    else if (stopped) output.line(`[rbee-keeper] queen-rbee (pid ${stopped.pid}) has ended`);
    else output.line(`[rbee-keeper] no queen runs at ${url}`);
    return 0;
  },
});
