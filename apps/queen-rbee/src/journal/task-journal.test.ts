import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLogger, silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { TaskRow } from './journal-schema.js';
import { type JournalEvent, type Journaled, TaskJournal } from './task-journal.js';

let folder: string;
let file: string;
let clock: ManualClock;
const open: TaskJournal[] = [];
const lines: { level: string; msg: string }[] = [];
const log = createLogger({
  service: 'queen-rbee',
  level: 'info',
  destinations: [{ write: (line: string) => void lines.push(JSON.parse(line)) }],
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'));
  file = join(folder, 'state', 'tasks.db');
  clock = new ManualClock();
  lines.length = 0;
});
afterEach(async () => {
  for (const journal of open.splice(0)) await journal.close();
  rmSync(folder, { recursive: true, force: true });
});

async function openJournal(): Promise<TaskJournal> {
  const journal = await TaskJournal.open({ file, clock, log });
  open.push(journal);
  return journal;
}

/** A task with events, as its owner shows it to the journal. */
class Sample implements Journaled {
  version = 0;
  endedAt: number | null = null;
  unwritten: JournalEvent[] = [];
  readonly all: JournalEvent[] = [];

  constructor(readonly ticket: number) {}

  written(): JournalEvent[] {
    return this.all;
  }

  add(...kinds: string[]): this {
    for (const kind of kinds) {
      const event = { run: 1, n: this.all.length + 1, kind, data: `{"n":${this.all.length + 1}}` };
      this.all.push(event);
      this.unwritten.push(event);
    }
    return this;
  }

  end(): this {
    this.add('end');
    this.endedAt = clock.now();
    this.version++;
    return this;
  }

  toRow(): Omit<TaskRow, 'first_event' | 'last_event'> {
    const over = this.endedAt !== null;
    return {
      ...{ ticket: this.ticket, job_id: `job-${this.ticket}`, run: 1, digest: 'd', client: '::1', correlation_id: 'c' },
      ...{ model: 'm', priority: 'interactive', deadline: null, accepted_at: 1, node: null, worker_id: null },
      ...{ prompt_ids: null, model_digest: null, tokens_out: this.all.length, resumed: 0, error: null },
      ...{ request: over ? null : '{"prompt":"secret"}', state: over ? 'ended' : null, ended_at: this.endedAt },
    };
  }
}

/** Writes as the owner of the tasks does: what was written is not shown again. */
function write(journal: TaskJournal, ...tasks: Sample[]): void {
  journal.write(tasks);
  for (const task of tasks) task.unwritten = [];
}

const kindsOf = (events: readonly JournalEvent[]) => events.map(({ kind }) => kind);
const openTasks = (journal: TaskJournal) => journal.readOpen().map(({ row, events }) => [row.job_id, kindsOf(events)]);

describe('the journal', () => {
  it('gives back what had not ended, with the events of each task in order', async () => {
    const journal = await openJournal();
    const [one, other, over] = [new Sample(1), new Sample(2), new Sample(3)];
    write(journal, one.add('accepted'), other.add('accepted'), over.add('accepted'));
    write(journal, one.add('started', 'token'), other.add('started'));
    write(journal, over.end(), one.add('token'));
    await journal.close();
    const next = await openJournal();
    expect(openTasks(next)).toEqual([
      ['job-1', ['accepted', 'started', 'token', 'token']],
      ['job-2', ['accepted', 'started']],
    ]);
    expect(next.lastTicket()).toBe(3);
    const row = next.findEnded('job-3');
    expect(row && kindsOf(next.readEvents(row))).toEqual(['accepted', 'end']);
    expect(next.findEnded('job-1')).toBeUndefined();
  });

  it('forgets what was asked for as soon as a task has ended', async () => {
    const journal = await openJournal();
    const task = new Sample(1).add('accepted');
    write(journal, task);
    expect(journal.readOpen()[0]?.row.request).toContain('secret');
    write(journal, task.end());
    expect(journal.listEnded()[0]?.request).toBeNull();
  });

  it('goes on with a task of another queen where that has stopped', async () => {
    const before = await openJournal();
    write(before, new Sample(1).add('accepted', 'token'));
    await before.close();
    const journal = await openJournal();
    const [found] = journal.readOpen();
    const task = new Sample(1);
    if (found) journal.adopt(task, found.row, found.events);
    write(journal, task.add('token').end());
    const row = journal.findEnded('job-1');
    expect(row && kindsOf(journal.readEvents(row))).toEqual(['accepted', 'token', 'token', 'end']);
  });

  it('deletes ended tasks after their time, and the oldest of too many', async () => {
    const journal = await openJournal();
    const tasks = Array.from({ length: 1_005 }, (_each, index) => new Sample(index + 1).add('accepted'));
    write(journal, ...tasks);
    for (const task of tasks.slice(1)) {
      await clock.advance(1);
      task.end();
    }
    write(journal, ...tasks);
    journal.deleteExpired(clock.now() - 10_000);
    expect(journal.listEnded()).toHaveLength(1_000);
    expect(journal.listEnded()[0]?.ticket).toBe(6);
    journal.deleteExpired(clock.now() - 3);
    expect(journal.listEnded().map(({ ticket }) => ticket)).toEqual([1_002, 1_003, 1_004, 1_005]);
    expect(openTasks(journal)).toEqual([['job-1', ['accepted']]]);
    expect(journal.keeps(tasks[0] as Sample)).toBe(true);
  });

  it('belongs to one queen: a second one works without it, says so once, and gets it when the first is gone', async () => {
    const first = await openJournal();
    const second = await openJournal();
    expect(second.works).toBe(false);
    const task = new Sample(7).add('accepted');
    second.onReopened = () => {
      write(second, task);
      return [task];
    };
    write(second, task);
    expect(openTasks(second)).toEqual([]);
    await clock.advance(5_000);
    await first.close();
    await clock.advance(10_000);
    await whenWorking(second);
    expect(openTasks(second)).toEqual([['job-7', ['accepted']]]);
    expect(lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)).toEqual([
      expect.stringContaining('another queen uses it'),
    ]);
  });

  it('gets everything that it has missed when it can be written again, and nothing that is over meanwhile', async () => {
    const journal = await openJournal();
    const [stays, ends] = [new Sample(1).add('accepted'), new Sample(2).add('accepted')];
    write(journal, stays, ends);
    journal.onReopened = () => {
      write(journal, stays);
      return [stays];
    };
    // A statement that fails stands for a disk that does; what was written with it is taken back.
    write(journal, stays.add('started'), ends.end(), new Sample(3).add(null as unknown as string));
    expect(journal.works).toBe(false);
    write(journal, stays.add('token'));
    await clock.advance(5_000);
    await whenWorking(journal);
    expect(openTasks(journal)).toEqual([['job-1', ['accepted', 'started', 'token']]]);
    expect(journal.findEnded('job-2')).toBeUndefined();
    expect(journal.keeps(stays)).toBe(true);
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'info']);
  });

  it('replaces a damaged file and keeps it beside', async () => {
    mkdirSync(join(folder, 'state'));
    writeFileSync(file, 'this is no database, and long enough not to be taken for an empty one');
    const journal = await openJournal();
    write(journal, new Sample(1).add('accepted'));
    expect(openTasks(journal)).toEqual([['job-1', ['accepted']]]);
    expect(readdirSync(join(folder, 'state'))).toContain('tasks.db.corrupt.backup');
    expect(lines.map(({ msg }) => msg)).toEqual([expect.stringContaining('damaged')]);
  });

  it('is no reason not to work where its folder cannot be used', async () => {
    writeFileSync(join(folder, 'state'), 'a file');
    const journal = await TaskJournal.open({ file, clock, log: silentLogger });
    open.push(journal);
    expect(journal.works).toBe(false);
    write(journal, new Sample(1).add('accepted'));
    expect([journal.readOpen(), journal.listEnded(), journal.lastTicket()]).toEqual([[], [], 0]);
  });
});

async function whenWorking(journal: TaskJournal): Promise<void> {
  while (!journal.works) await new Promise((resolve) => setImmediate(resolve));
}
