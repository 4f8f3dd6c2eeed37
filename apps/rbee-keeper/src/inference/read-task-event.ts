import { normalizeInferenceEvent, type SseMessage, type TaskEvent, taskEventSchema } from '@rbee/protocol';

/** An event of either the current or the older, unnamed shape; `undefined` for one that this version does not know. */
export function readTaskEvent(message: SseMessage): TaskEvent | undefined {
  try {
    const data: unknown = JSON.parse(message.data);
    return taskEventSchema.safeParse(message.event === undefined ? normalizeInferenceEvent(data) : data).data;
  } catch {
    // A reader survives what it cannot parse.
    return undefined;
  }
}
