import type { OptionTable, OptionValues } from '../command.js';

/** Flags that describe a node; `setup add-node` and `setup update-node` share them. */
export const nodeOptions = {
  'ssh-host': {
    type: 'string',
    value: 'HOST',
    describe: 'Host name or address of the machine, or the name of a host in ~/.ssh/config',
  },
  'ssh-port': { type: 'number', describe: 'Port of its SSH server; left out: what ~/.ssh/config says, else 22' },
  'ssh-user': {
    type: 'string',
    value: 'USER',
    describe: 'User there; left out: what ~/.ssh/config says, else your own',
  },
  'ssh-key': {
    type: 'string',
    value: 'FILE',
    describe: 'Private key; left out: what ~/.ssh/config says, the SSH agent, and the usual files',
  },
  'host-key': {
    type: 'string',
    value: 'SHA256:…',
    describe: 'Fingerprint that the machine must show, where you know it beforehand',
  },
  'git-repo': {
    type: 'string',
    value: 'URL',
    describe: 'Build rbee there from this repository; left out: the queen sends its own release',
  },
  'git-branch': { type: 'string', value: 'BRANCH', describe: 'Branch of that repository (default main)' },
  'install-path': {
    type: 'string',
    value: 'DIR',
    describe: "Folder of rbee on the node (default '~/rbee'); quote a ~, so that it means the home folder there",
  },
  'node-path': {
    type: 'string',
    value: 'FILE',
    describe: 'Node.js program on the node; left out: it is looked for',
  },
  'hive-port': { type: 'number', describe: 'Port of the hive on the node (default 9200)' },
  'hive-url': {
    type: 'string',
    value: 'URL',
    describe: 'Address of a hive that somebody else runs and that is reached without SSH',
  },
  'hive-token-file': { type: 'string', value: 'FILE', describe: 'File with the key of that hive' },
  backends: { type: 'string', value: 'LIST', describe: 'Such as cuda,cpu; left out: the node is asked' },
  devices: { type: 'string', value: 'LIST', describe: 'Devices of each backend, such as cuda=2,cpu=1' },
} as const satisfies OptionTable;

export type NodeOptions = OptionValues<typeof nodeOptions>;

/** The flag behind each field of a node, where it has another name. */
export const NODE_FLAGS: Readonly<Record<string, string>> = {
  node_name: '--name',
  ssh_key_path: '--ssh-key',
  host_key_fingerprint: '--host-key',
  git_repo_url: '--git-repo',
};
