import { defineCommand } from '../command.js';

export const logsCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Node whose log is shown', default: 'localhost' },
    follow: { type: 'boolean', describe: 'Stay, and show lines as they are written' },
    lines: { type: 'number', describe: 'How many of the newest lines come first (default 100)' },
    worker: { type: 'string', value: 'ID', describe: 'Lines of this worker only' },
  },
  examples: [
    ['rbee-keeper logs', 'The newest lines of this machine'],
    ['rbee-keeper logs --follow', 'Everything that happens on this machine, until Ctrl+C'],
    ['rbee-keeper logs --worker worker-7f3c0a1e --lines 20', 'The newest lines of one worker'],
  ],
  notes: 'On a terminal lines are laid out for reading; in a pipe, and with --json, they are JSON lines.',
  async run(options, context) {
    const { checkRequest } = await import('../check-request.js');
    const { node, lines, worker } = options;
    checkRequest('logs', { node, lines, worker_id: worker }, { worker_id: '--worker' });
    const { printLogs } = await import('../log-printer.js');
    await context.withQueen((queen) => printLogs(queen, options, context));
    return 0;
  },
});
