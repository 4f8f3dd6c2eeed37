import { defineCommand } from '../../command.js';
import { nodeOptions } from '../../nodes/node-options.js';
import { UsageError } from '../../usage-error.js';

export const addNodeCommand = defineCommand({
  options: {
    name: { type: 'string', value: 'NODE', describe: 'Name of the node, as --node takes it', required: true },
    ...nodeOptions,
  },
  examples: [
    ['rbee-keeper setup add-node --name workstation --ssh-host workstation.home.arpa', 'A machine you can SSH into'],
    [
      'rbee-keeper setup add-node --name attic --ssh-host 192.168.1.20 --ssh-user me --ssh-key ~/.ssh/id_ed25519',
      'With all that SSH needs to know',
    ],
    [
      'rbee-keeper setup add-node --name lab --ssh-host lab --git-repo https://git.example.com/rbee.git',
      'rbee is built there from a repository',
    ],
    [
      'rbee-keeper setup add-node --name shared --hive-url http://192.168.1.30:9200 --hive-token-file ~/shared.token',
      'A hive that somebody else runs, without SSH',
    ],
  ],
  notes:
    'Nothing is stored when the machine cannot be reached. Its host key is pinned: a machine that shows another one later is refused. ' +
    'Install rbee on it afterwards: rbee-keeper setup install --node NODE.',
  async run({ name, ...options }, context) {
    if (options['ssh-host'] === undefined && options['hive-url'] === undefined) {
      throw new UsageError('give --ssh-host, or --hive-url for a hive that is reached without SSH', context.entry);
    }
    const { toNodeRequest } = await import('../../nodes/to-node-request.js');
    const { showNodeChange } = await import('../../nodes/show-node-change.js');
    const body = toNodeRequest('addNode', name, options, context);
    await context.withQueen(async (queen) => showNodeChange(await queen.addNode(body), context));
    return 0;
  },
});
