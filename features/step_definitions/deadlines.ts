import assert from 'node:assert/strict';
import { Then, When } from '@cucumber/cucumber';
import { OpenStream } from '../support/event-stream.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

/** How long posting a task may take on a busy machine. */
const LEEWAY_MS = 5_000;

When('I post this task with the deadline in {int} s:', async function (this: RbeeWorld, seconds: number, task: string) {
  const deadline = new Date(Date.now() + seconds * 1000).toISOString();
  const headers = { Accept: 'text/event-stream', 'X-Request-Deadline': deadline };
  const opened = await OpenStream.open(`${this.queenUrl}/v2/tasks`, { method: 'POST', headers, body: this.fill(task) });
  this.notes.set('stream', opened);
  await opened.closed;
});

Then(
  'the error of the stream names the deadline of {int} s after the task was posted',
  function (this: RbeeWorld, seconds: number) {
    const { terminal, events } = this.notes.get('stream') as OpenStream;
    const accepted = events.find(({ action }) => action === 'task_accepted');
    const deadline = Date.parse(String((terminal.details as Record<string, unknown>).deadline));
    const given = deadline - Number(accepted?.emitted_at_ms);
    assert(Math.abs(given - seconds * 1000) < LEEWAY_MS / 10, `the deadline is ${given} ms after the acceptance`);
  },
);

Then('the answer names the deadline of {int} s after the task was posted', function (this: RbeeWorld, seconds: number) {
  const { body } = this.notes.get('answer') as { body: { error: { details: Record<string, unknown> } } };
  const { deadline } = body.error.details;
  assert.match(String(deadline), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  const passed = Date.now() - Date.parse(String(deadline));
  assert(passed >= 0 && passed < LEEWAY_MS, `it passed ${passed} ms ago, although it was ${seconds} s`);
});

Then('the log of the queen shows {string}', async function (this: RbeeWorld, text: string) {
  const queen = this.notes.get('queen') as Program;
  await waitUntil(
    () => queen.text.stderr.includes(text),
    () => `the queen's log does not show it\n${queen.report()}`,
    5_000,
  );
});
