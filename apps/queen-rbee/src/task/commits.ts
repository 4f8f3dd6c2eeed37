import type { TaskJournal } from '../journal/task-journal.js';
import type { OwnedTask } from './owned-task.js';

/**
 * Commits what has come of all tasks within one turn of the event loop together: first to the journal, in one transaction, then to
 * the readers. So no client knows of anything that a queen after this one would not know.
 */
export class Commits {
  readonly #journal: TaskJournal;
  readonly #due = new Set<OwnedTask>();
  #scheduled = false;

  constructor(journal: TaskJournal) {
    this.#journal = journal;
  }

  /** Something has come of a task. */
  add(owned: OwnedTask): void {
    this.#due.add(owned);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  /** Commits now what waits for the end of the turn. */
  flush(): void {
    this.#scheduled = false;
    if (this.#due.size === 0) return;
    const due = [...this.#due];
    this.#due.clear();
    this.#journal.write(due.filter(({ accepted }) => accepted));
    for (const { log } of due) log.commit();
  }
}
