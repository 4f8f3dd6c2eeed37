/** A row of the table `tasks`. Times are milliseconds since the epoch; lists and objects are JSON. */
export interface TaskRow {
  /** Place in the order in which all tasks came. */
  ticket: number;
  job_id: string;
  /** Queens that have had the task, this one included. */
  run: number;
  /** Digest of the request, by which a client that comes back is told from one that took the same id. */
  digest: string;
  /** What was asked for; null once the task has ended. */
  request: string | null;
  model: string;
  priority: string;
  client: string;
  correlation_id: string;
  deadline: number | null;
  accepted_at: number;
  /** Where it runs, or ran last. */
  node: string | null;
  worker_id: string | null;
  /** Token ids of the prompt, and the digest of the model that made the tokens. */
  prompt_ids: string | null;
  model_digest: string | null;
  tokens_out: number;
  resumed: number;
  /** All of these stay null until the task has ended. */
  state: string | null;
  ended_at: number | null;
  error: string | null;
  /** Between which rows of `events` its events lie, among those of other tasks. */
  first_event: number | null;
  last_event: number | null;
}

/** A row of the table `events`: one event as it was sent. */
export interface EventRow {
  id: number;
  ticket: number;
  run: number;
  n: number;
  kind: string;
  data: string;
}

export interface JournalSchema {
  tasks: TaskRow;
  events: EventRow;
}
