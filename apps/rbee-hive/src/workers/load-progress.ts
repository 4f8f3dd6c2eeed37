import { type Clock, callStream, readEvent, sleep, type Target } from '@rbee/daemon-kit';
import { type LoadProgress, loadProgressSchema, workerRoutes } from '@rbee/protocol';

type LayersLoaded = LoadProgress & { stage: 'loading_to_vram' };

export interface LoadProgressOptions {
  clock: Clock;
  /** Wait before the stream is opened again after it broke. */
  retryMs: number;
  /** Ends the following, for example because the worker has gone or the load took too long. */
  signal: AbortSignal;
  onProgress: (progress: LayersLoaded) => void;
}

/** Follows how a worker loads its model, until it says ready or failed, or the signal is aborted. */
export async function followLoadProgress(target: Target, options: LoadProgressOptions): Promise<void> {
  const { clock, retryMs, signal, onProgress } = options;
  while (!signal.aborted) {
    try {
      const { messages } = await callStream(target, workerRoutes.loadingProgress, { signal });
      for await (const message of messages) {
        const event = readEvent(loadProgressSchema, message);
        if (event?.stage === 'loading_to_vram') onProgress(event);
      }
      return;
    } catch (error) {
      // The load goes on without a reader; its own deadline ends a worker that stays silent.
      if (!signal.aborted) await sleep(clock, retryMs, signal).catch(() => error);
    }
  }
}
