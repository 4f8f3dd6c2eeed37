import { defineCommand } from '../../command.js';

export const installCommand = defineCommand({
  options: {
    node: { type: 'string', value: 'NODE', describe: 'Registered node that rbee is installed on', required: true },
    service: { type: 'boolean', describe: 'Also let the machine start its hive by itself (systemd or launchd)' },
  },
  examples: [
    ['rbee-keeper setup install --node workstation', 'Install rbee, or bring it to the version of the queen'],
    ['rbee-keeper setup install --node workstation --service', 'Its hive then also starts with the machine'],
  ],
  notes:
    'The release that is there stays in use until the new one has passed its self-test. Ctrl+C gives the installation up.',
  async run({ node, service }, context) {
    const { checkRequest } = await import('../../check-request.js');
    checkRequest('installNode', { node_name: node, service }, { node_name: '--node' });
    const { showInstallation } = await import('../../nodes/show-installation.js');
    await context.withQueen(async (queen) => showInstallation(await queen.installNode(node, service), context));
    return 0;
  },
});
