import { defineCommand } from '../../command.js';

export const queenStatusCommand = defineCommand({
  options: {},
  examples: [['rbee-keeper queen status --json', 'For scripts: {"running":true,...}']],
  notes: 'The exit code is 0 whether a queen runs or not; a queen that does not answer in time counts as running.',
  async run(_options, { queen, output }) {
    const probe = await queen.probe();
    const { url } = queen.address;
    const health = probe.state === 'up' ? probe.health : undefined;
    if (output.json) {
      output.object({ running: probe.state !== 'absent', answers: health !== undefined, url, ...health });
    } else if (health) {
      output.line(`[rbee-keeper] queen-rbee ${health.version} runs at ${url} (pid ${health.pid ?? 'unknown'})`);
    } else if (probe.state === 'silent') {
      output.line(`[rbee-keeper] something listens at ${url}, but does not answer`);
    } else {
      output.line(`[rbee-keeper] no queen runs at ${url}`);
      output.block('Start one with: rbee-keeper queen start');
    }
    return 0;
  },
});
