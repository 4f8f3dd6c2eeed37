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
    path: ['workers', 'shutdown'],
    summary: 'Stop one worker and free its memory',
    usage: 'workers shutdown --id WORKER [options]',
    load: async () => (await import('./commands/workers/shutdown.js')).workersShutdownCommand,
  },
  {
    path: ['logs'],
    summary: 'Print the log lines of a node',
    usage: 'logs [--node NODE] [--follow] [options]',
    load: async () => (await import('./commands/logs.js')).logsCommand,
  },
];

/** Summaries of the nouns that have several commands. */
export const groupSummaries: Readonly<Record<string, string>> = {
  queen: 'Start, stop and inspect the queen',
  workers: 'List, check and stop workers',
};
