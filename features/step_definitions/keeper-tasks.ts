import assert from 'node:assert/strict';
import { Given, Then, When } from '@cucumber/cucumber';
import type { TaskSummary } from '@rbee/protocol';
import { assertGreedyAnswer } from '../support/engine-alone.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

When(/^I start `([^`]+)` and leave it$/, function (this: RbeeWorld, line: string) {
  this.notes.set('left', this.startCommand(line));
});

Given('it is left running', function (this: RbeeWorld) {
  this.notes.set('left', this.last);
});

When('the left command has written to stdout', async function (this: RbeeWorld) {
  await left(this).waitFor('stdout', /./);
});

When("the left command's stdout comes to show {string}", async function (this: RbeeWorld, text: string) {
  await left(this).waitFor('stdout', new RegExp(text));
});

Then('the left command ends with the exit code {int}', async function (this: RbeeWorld, code: number) {
  assert.equal(await left(this).waitForExit(), code, left(this).report());
});

Then("the left command's stdout is the greedy story, up to float noise", function (this: RbeeWorld) {
  assertGreedyAnswer('write a short story', left(this).text.stdout.replace(/\n$/, ''));
});

Then("the left command's stderr shows {string}", function (this: RbeeWorld, text: string) {
  assert(left(this).text.stderr.includes(text), left(this).report());
});

Then('stderr comes to show {string}', async function (this: RbeeWorld, text: string) {
  await this.last.waitFor('stderr', new RegExp(text));
});

Then('no process is left within {int} s', async function (this: RbeeWorld, seconds: number) {
  await waitUntil(
    () => this.findProcesses().length === 0,
    () => `processes are left: ${JSON.stringify(this.findProcesses())}`,
    seconds * 1000,
  );
});

Given('the only task is noted', async function (this: RbeeWorld) {
  this.notes.set('task', (await onlyTask(this)).job_id);
});

Given('the only task that is {word} is noted', async function (this: RbeeWorld, state: string) {
  this.notes.set('task', (await onlyTask(this, state)).job_id);
});

Then('the only task was taken over by a queen that was started anew', async function (this: RbeeWorld) {
  assert.equal((await onlyTask(this)).recovered, true);
});

When('the queen that it started is killed', async function (this: RbeeWorld) {
  const [queen, ...others] = this.findProcesses().filter(({ command }) => command.includes('queen-rbee.js'));
  assert(queen && others.length === 0, 'there is not exactly one queen');
  process.kill(queen.pid, 'SIGKILL');
  await waitUntil(
    () => !this.findProcesses().some(({ pid }) => pid === queen.pid),
    () => 'the queen outlived its SIGKILL',
    5_000,
  );
});

function left(world: RbeeWorld): Program {
  const program = world.notes.get('left');
  assert(program, 'the scenario has left no command running');
  return program as Program;
}

async function onlyTask(world: RbeeWorld, state?: string): Promise<TaskSummary> {
  const query = state === undefined ? '' : `?state=${state}`;
  const answer = await fetch(`${world.queenUrl}/v2/tasks${query}`);
  const { tasks } = (await answer.json()) as { tasks: TaskSummary[] };
  const [task] = tasks;
  assert(task && tasks.length === 1, JSON.stringify(tasks));
  return task;
}
