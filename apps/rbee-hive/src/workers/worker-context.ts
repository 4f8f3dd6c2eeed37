import type { Clock, Logger, Timeouts } from '@rbee/daemon-kit';
import type { HiveEvent, MemoryFigures } from '@rbee/protocol';
import type { MemoryKills } from './memory-kills.js';
import type { Worker } from './worker.js';
import type { WorkerCrash } from './worker-failures.js';

/** What a worker is built on, and who hears of it. */
export interface WorkerContext {
  clock: Clock;
  log: Logger;
  timeouts: Timeouts;
  publish: (event: HiveEvent) => void;
  /** A loaded model was measured. */
  onMemory: (worker: Worker, figures: MemoryFigures) => void;
  /** The worker has left: `failed` keeps it for inspection, `gone` follows when its process has ended. */
  onLeft: (worker: Worker, how: 'failed' | 'gone') => void;
  /** A process has ended by itself. */
  onCrash: (crash: WorkerCrash) => void;
  /** What another hive would have to know about it has changed. */
  onChanged: (worker: Worker) => void;
  memoryKills: MemoryKills;
}
