import type { CommandEntry } from './command-table.js';
import type { GlobalOptions } from './global-options.js';
import type { Interrupt } from './interrupt.js';
import type { KeeperEnvironment } from './keeper-environment.js';
import type { Output } from './output.js';
import type { QueenControl } from './queen/queen-control.js';
import type { QueenWork } from './queen/with-queen.js';
import type { KeeperSettings } from './settings.js';

/** What every command works with. */
export interface LocalContext {
  readonly entry: CommandEntry;
  readonly env: KeeperEnvironment;
  readonly globals: GlobalOptions;
  readonly output: Output;
  readonly interrupt: Interrupt;
}

/** What a command works with that has to do with a queen. */
export interface CommandContext extends LocalContext {
  readonly settings: KeeperSettings;
  /** Starts, finds and stops the queen's process. */
  readonly queen: QueenControl;
  /** Makes sure that a queen answers, holds a lease on it during the work, and lets it go afterwards. */
  withQueen<T>(work: QueenWork<T>): Promise<T>;
}
