import type { Clock, Timeouts } from '@rbee/daemon-kit';
import type { DownloadProgress, PlannedWorker } from '@rbee/protocol';
import type { Listener } from '../worker/crowd.js';

/** How a model is brought to a node, whichever way. */
export interface SupplyContext {
  readonly clock: Clock;
  /** RBEE_NO_JITTER and RBEE_NO_RETRY. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly timeouts: Pick<Timeouts, 'call' | 'download_stall' | 'keep_alive'>;
  /** Waits before the attempts, in milliseconds. */
  readonly waits: readonly number[];
  readonly correlationId: string;
  /** What the model is for. */
  readonly worker: PlannedWorker | undefined;
  readonly signal: AbortSignal;
  /** Those for whom it is brought. */
  readonly listener: Pick<Listener, 'deadline'>;
  readonly onEvent: (event: DownloadProgress) => void;
}

/** Tells a further attempt like the hive tells its own. */
export function retryTeller({ waits, onEvent }: Pick<SupplyContext, 'waits' | 'onEvent'>) {
  return (attempt: number, delay_ms: number, error: unknown): void =>
    onEvent({ stage: 'retrying', attempt, max_attempts: waits.length, delay_ms, reason: (error as Error).message });
}
