import type { SseMessage, TaskEvent } from '@rbee/protocol';

/** What a worker's message is; only terminal ones end the stream. */
export type MessageKind = 'started' | 'token' | 'narration' | 'metrics' | 'end' | 'error';

/** Where a task's events go. */
export interface TaskOutput {
  /** Takes an event of the queen's own; after the worker's `started` only narration, because the rest belongs before it. */
  tell(event: TaskEvent): void;
  /** The worker has accepted the job: from now on the answer is a success. */
  accept(): void;
  /** Takes an event of the worker as it is. The promise, if any, resolves when the readers have caught up. */
  relay(message: SseMessage, kind: MessageKind, signal: AbortSignal): Promise<void> | undefined;
}
