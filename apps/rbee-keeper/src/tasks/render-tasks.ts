import type { TaskDetail, TaskSummary } from '@rbee/protocol';
import { toLocalTime } from '../local-time.js';
import { toPrintableLine } from '../printable-text.js';
import { renderTable } from '../table.js';

/** As much of an id as a table shows when that tells the tasks apart. */
const SHORT_ID = 12;

/** A table of tasks, in the order in which the queen lists them. `now`: milliseconds since the epoch. */
export function renderTasks(tasks: readonly TaskSummary[], now: number): string[] {
  const length = lengthThatTellsApart(tasks.map(({ job_id }) => job_id));
  const rows = tasks.map((task) => [
    shorten(task.job_id, length),
    task.position === undefined || task.state !== 'queued' ? task.state : `queued (${task.position})`,
    String(task.tokens_out),
    task.node ?? '-',
    ageText(now - Date.parse(task.accepted_at)),
    task.model,
  ]);
  return renderTable(['task', 'state', 'tokens', 'node', 'age', 'model'], rows).map(toPrintableLine);
}

/** Ids that the keeper makes are cut; one that somebody chose stands as it is. */
function shorten(id: string, length: number): string {
  return isMade(id) ? id.slice(0, length) : id;
}

function isMade(id: string): boolean {
  return /^job-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id);
}

function lengthThatTellsApart(ids: readonly string[]): number {
  const made = ids.filter(isMade);
  let length = SHORT_ID;
  while (new Set(made.map((id) => id.slice(0, length))).size < new Set(made).size) length++;
  return length;
}

/** How long ago, in the largest whole unit. */
function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

/** What is known of one task, without its text. Times are local. */
export function renderTask(task: TaskDetail): string[] {
  const { error, node, resumed, state, position, worker_id } = task;
  const facts: [string, string | undefined][] = [
    ['State', position === undefined || state !== 'queued' ? state : `queued, place ${position}`],
    ['Model', task.model],
    ['Node', node],
    ['Worker', worker_id],
    ['Priority', task.priority],
    ['Tokens', String(task.tokens_out)],
    ['Resumed', resumed > 0 ? `${resumed} ${resumed === 1 ? 'time' : 'times'}, at another worker` : undefined],
    ['Recovered', task.recovered ? 'yes, by a queen that was started anew' : undefined],
    ['Clients', String(task.clients)],
    ['Accepted', timeText(task.accepted_at)],
    ['Ended', timeText(task.ended_at)],
    ['Deadline', timeText(task.deadline)],
    ['Correlation id', task.correlation_id],
    ['Error', error && `${error.message} (${error.code})`],
  ];
  const lines = facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name}: ${value}`]));
  return [task.job_id, ...lines].map(toPrintableLine);
}

function timeText(iso: string | undefined): string | undefined {
  return iso === undefined ? undefined : toLocalTime(Date.parse(iso) / 1000);
}
