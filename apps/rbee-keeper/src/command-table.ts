import type { Command } from './command.js';

/** What is known of a command before it is loaded. */
export interface CommandEntry {
  readonly path: readonly [string] | readonly [string, string];
  readonly summary: string;
  /** How to call it, behind the program's name. */
  readonly usage: string;
  readonly load: () => Promise<Command>;
}

/** Names and summaries only: a command's own file is loaded when that command is used. */
export const commandTable: readonly CommandEntry[] = [
  {
    path: ['infer'],
    summary: 'Send one prompt to a model and print its answer',
    usage: 'infer --prompt TEXT [options]',
    load: async () => (await import('./commands/infer.js')).inferCommand,
  },
  {
    path: ['chat'],
    summary: 'Hold a conversation with a model',
    usage: 'chat [options]',
    load: async () => (await import('./commands/chat.js')).chatCommand,
  },
  {
    path: ['tasks', 'list'],
    summary: 'List the tasks that run, wait, or have just ended',
    usage: 'tasks list [--state STATE] [options]',
    load: async () => (await import('./commands/tasks/list.js')).tasksListCommand,
  },
  {
    path: ['tasks', 'show'],
    summary: 'Tell what is known of one task, with its text',
    usage: 'tasks show --id ID [--follow] [options]',
    load: async () => (await import('./commands/tasks/show.js')).tasksShowCommand,
  },
  {
    path: ['tasks', 'cancel'],
    summary: 'Cancel one task and free its slot',
    usage: 'tasks cancel --id ID [options]',
    load: async () => (await import('./commands/tasks/cancel.js')).tasksCancelCommand,
  },
  {
    path: ['queen', 'start'],
    summary: 'Start a queen that keeps running',
    usage: 'queen start [options]',
    load: async () => (await import('./commands/queen/start.js')).queenStartCommand,
  },
  {
    path: ['queen', 'stop'],
    summary: 'Stop the queen of this machine and what it started',
    usage: 'queen stop [options]',
    load: async () => (await import('./commands/queen/stop.js')).queenStopCommand,
  },
  {
    path: ['queen', 'status'],
    summary: 'Tell whether a queen runs, and which',
    usage: 'queen status [options]',
    load: async () => (await import('./commands/queen/status.js')).queenStatusCommand,
  },
  {
    path: ['setup', 'add-node'],
    summary: 'Register a machine that you can reach over SSH',
    usage: 'setup add-node --name NODE --ssh-host HOST [options]',
    load: async () => (await import('./commands/setup/add-node.js')).addNodeCommand,
  },
  {
    path: ['setup', 'list-nodes'],
    summary: 'List the registered nodes with their state',
    usage: 'setup list-nodes [options]',
    load: async () => (await import('./commands/setup/list-nodes.js')).listNodesCommand,
  },
  {
    path: ['setup', 'update-node'],
    summary: 'Change what is known of a node',
    usage: 'setup update-node --name NODE [options]',
    load: async () => (await import('./commands/setup/update-node.js')).updateNodeCommand,
  },
  {
    path: ['setup', 'remove-node'],
    summary: 'Forget a node',
    usage: 'setup remove-node --name NODE [options]',
    load: async () => (await import('./commands/setup/remove-node.js')).removeNodeCommand,
  },
  {
    path: ['setup', 'install'],
    summary: 'Install or upgrade rbee on a node',
    usage: 'setup install --node NODE [--service] [options]',
    load: async () => (await import('./commands/setup/install.js')).installCommand,
  },
  {
    path: ['hive', 'status'],
    summary: 'Tell which nodes can be reached and whether their hives run',
    usage: 'hive status [--node NODE] [options]',
    load: async () => (await import('./commands/hive/status.js')).hiveStatusCommand,
  },
  {
    path: ['hive', 'start'],
    summary: 'Start the hive of a node',
    usage: 'hive start --node NODE [options]',
    load: async () => (await import('./commands/hive/start.js')).hiveStartCommand,
  },
  {
    path: ['hive', 'stop'],
    summary: 'Stop the hive of a node and its workers',
    usage: 'hive stop --node NODE [options]',
    load: async () => (await import('./commands/hive/stop.js')).hiveStopCommand,
  },
  {
    path: ['hive', 'restart'],
    summary: 'Stop the hive of a node and start it again',
    usage: 'hive restart --node NODE [options]',
    load: async () => (await import('./commands/hive/restart.js')).hiveRestartCommand,
  },
  {
    path: ['workers', 'list'],
    summary: 'List the workers of all nodes',
    usage: 'workers list [--node NODE] [options]',
    load: async () => (await import('./commands/workers/list.js')).workersListCommand,
  },
  {
    path: ['workers', 'health'],
    summary: 'Tell which workers are ready',
    usage: 'workers health --node NODE [options]',
    load: async () => (await import('./commands/workers/health.js')).workersHealthCommand,
  },
  {
    path: ['workers', 'spawn'],
    summary: 'Start a worker ahead of any task',
    usage: 'workers spawn [--node NODE] [--model REF] [options]',
    load: async () => (await import('./commands/workers/spawn.js')).workersSpawnCommand,
  },
  {
    path: ['workers', 'pin'],
    summary: 'Keep a worker loaded, or let it go again',
    usage: 'workers pin --id WORKER [--off] [options]',
    load: async () => (await import('./commands/workers/pin.js')).workersPinCommand,
  },
  {
    path: ['workers', 'shutdown'],
    summary: 'Stop one worker and free its memory',
    usage: 'workers shutdown --id WORKER [options]',
    load: async () => (await import('./commands/workers/shutdown.js')).workersShutdownCommand,
  },
  {
    path: ['models', 'list'],
    summary: 'List the models of all nodes, and downloads that run',
    usage: 'models list [--node NODE] [options]',
    load: async () => (await import('./commands/models/list.js')).modelsListCommand,
  },
  {
    path: ['models', 'show'],
    summary: 'Tell what is known of one model',
    usage: 'models show MODEL [--node NODE] [options]',
    load: async () => (await import('./commands/models/show.js')).modelsShowCommand,
  },
  {
    path: ['models', 'pull'],
    summary: 'Bring a model to a node',
    usage: 'models pull MODEL [--node NODE] [options]',
    load: async () => (await import('./commands/models/pull.js')).modelsPullCommand,
  },
  {
    path: ['models', 'rm'],
    summary: 'Remove a model and its files from a node',
    usage: 'models rm MODEL [--node NODE] [options]',
    load: async () => (await import('./commands/models/rm.js')).modelsRemoveCommand,
  },
  {
    path: ['models', 'scan'],
    summary: 'Find model files that were put into the folders of a node',
    usage: 'models scan [--node NODE] [options]',
    load: async () => (await import('./commands/models/scan.js')).modelsScanCommand,
  },
  {
    path: ['models', 'variants'],
    summary: 'List what a repository of the hub has to choose from',
    usage: 'models variants MODEL [--node NODE] [options]',
    load: async () => (await import('./commands/models/variants.js')).modelsVariantsCommand,
  },
  {
    path: ['logs'],
    summary: 'Print the log lines of a node',
    usage: 'logs [--node NODE] [--follow] [options]',
    load: async () => (await import('./commands/logs.js')).logsCommand,
  },
  {
    path: ['config', 'show'],
    summary: 'Show every setting with its value',
    usage: 'config show [--origin] [options]',
    load: async () => (await import('./commands/config/show.js')).configShowCommand,
  },
  {
    path: ['config', 'example'],
    summary: 'Print a configuration file with every key, commented',
    usage: 'config example [options]',
    load: async () => (await import('./commands/config/example.js')).configExampleCommand,
  },
];

/** Summaries of the nouns that have several commands. */
export const groupSummaries: Readonly<Record<string, string>> = {
  tasks: 'List, show and cancel tasks',
  queen: 'Start, stop and inspect the queen',
  setup: 'Register machines and install rbee on them',
  hive: 'Inspect, start and stop the hives of nodes',
  workers: 'List, check, start, pin and stop workers',
  models: 'List, get and remove models',
  config: 'Show the configuration, and an example of its file',
};

/** Other names of nouns, which the help does not show. */
export const groupAliases: Readonly<Record<string, string>> = { pool: 'hive' };
