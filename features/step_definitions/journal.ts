import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { Then, When } from '@cucumber/cucumber';
import { SseDecoder } from '@rbee/protocol';
import { FLOAT_NOISE, generateWithEngineAlone, measureGap } from '../support/engine-alone.js';
import { FollowedTask } from '../support/followed-task.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

When('{int} client(s) follow(s) this task:', function (this: RbeeWorld, count: number, task: string) {
  const fields = JSON.parse(this.fill(task)) as Record<string, unknown>;
  const known = followed(this);
  for (let each = 0; each < count; each++)
    known.push(new FollowedTask(this.queenUrl, `job-followed-${known.length + 1}`, fields));
  this.notes.set('followed', known);
  this.onClose(async () => {
    for (const task of known) task.leave();
  });
});

When('the queen is killed when the first of them has {int} token(s)', async function (this: RbeeWorld, tokens: number) {
  const queen = this.notes.get('queen') as Program;
  const [first] = followed(this);
  assert(first);
  const kill = () => queen.kill('SIGKILL');
  await first.when(() => first.all('token').length >= tokens, `never had ${tokens} tokens`, kill);
  await queen.waitForExit();
});

When('the queen is killed', async function (this: RbeeWorld) {
  const queen = this.notes.get('queen') as Program;
  queen.kill('SIGKILL');
  await queen.waitForExit();
});

When('{int} of them answer and {int} are queued', async function (this: RbeeWorld, answering: number, queued: number) {
  const has = (type: string) => followed(this).filter((task) => task.all(type).length > 0).length;
  await waitUntil(
    () => has('token') >= answering && has('queued') >= queued,
    () => `${has('token')} answer, ${has('queued')} are queued`,
  );
});

When('the first of them is told of the load', async function (this: RbeeWorld) {
  const [first] = followed(this);
  await first?.when(() => first.all('progress').some(({ phase }) => phase === 'load'), 'was never told of the load');
});

When('the first of them has {int} tokens and leaves', async function (this: RbeeWorld, tokens: number) {
  const [first] = followed(this);
  await first?.when(
    () => first.all('token').length >= tokens,
    `never had ${tokens} tokens`,
    () => first.leave(),
  );
});

When('the first of them has ended', async function (this: RbeeWorld) {
  await followed(this)[0]?.done;
});

Then(
  'each of them gets the greedy answer to {string}, and each event once',
  async function (this: RbeeWorld, prompt: string) {
    for (const task of followed(this)) {
      await task.done;
      task.assertWhole('end');
      assertGreedy(prompt, task.ids);
    }
  },
);

Then(
  '{int} of them get the first {int} tokens of the greedy answer to {string}, and each event once',
  async function (this: RbeeWorld, count: number, tokens: number, prompt: string) {
    assert.equal(followed(this).length, count);
    for (const task of followed(this)) {
      await task.done;
      task.assertWhole('end');
      assert.equal(task.ids.length, tokens);
      assertGreedy(prompt, task.ids, tokens);
    }
  },
);

Then('each of them gets {string}, and each event once', async function (this: RbeeWorld, text: string) {
  for (const task of followed(this)) {
    await task.done;
    task.assertWhole('end');
    assert.equal(task.text, text);
  }
});

Then('each of them came back', function (this: RbeeWorld) {
  for (const task of followed(this)) assert(task.returns > 0, `${task.id} never had to come back`);
});

Then('{int} tasks were taken over, each of which has ended', async function (this: RbeeWorld, count: number) {
  const tasks = (await listTasks(this)).filter(({ recovered }) => recovered);
  assert.deepEqual(
    tasks.map(({ state }) => state),
    Array(count).fill('ended'),
    JSON.stringify(tasks),
  );
});

Then('the task of the first comes to be {string}', async function (this: RbeeWorld, state: string) {
  const id = followed(this)[0]?.id;
  let found: string | undefined;
  await waitUntil(
    async () => {
      found = (await listTasks(this)).find(({ job_id }) => job_id === id)?.state;
      return found === state;
    },
    () => `the task is ${found}`,
    5_000,
  );
});

When('a client reads nothing of this task until it stands still:', async function (this: RbeeWorld, task: string) {
  const { id, response } = await postUnread(this, task);
  this.notes.set('unread', response);
  let before = -1;
  // It stands when nothing has come for much longer than the way from the worker takes.
  for (let now = 0; before !== now || now === 0; ) {
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    now = (await listTasks(this)).find(({ job_id }) => job_id === id)?.tokens_out ?? 0;
  }
  this.notes.set('stood at', before);
});

Then('it had come to fewer than {int} tokens', function (this: RbeeWorld, tokens: number) {
  const stoodAt = Number(this.notes.get('stood at'));
  assert(stoodAt > 0 && stoodAt < tokens, `it stood at ${stoodAt}`);
});

Then('the client reads all {int} tokens in order when it reads on', async function (this: RbeeWorld, tokens: number) {
  const decoder = new SseDecoder();
  let next = 0;
  const others: string[] = [];
  for await (const chunk of this.notes.get('unread') as IncomingMessage) {
    for (const { event, data } of decoder.push(chunk as Uint8Array)) {
      if (event === 'token') assert.equal((JSON.parse(data) as { i: number }).i, next++);
      else others.push(event ?? data);
    }
  }
  assert.equal(next, tokens);
  assert.deepEqual(others.slice(-2), ['end', '[DONE]']);
});

/** Posts a task and takes its answer without reading it. */
function postUnread(world: RbeeWorld, task: string): Promise<{ id: string; response: IncomingMessage }> {
  const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  return new Promise((resolve, reject) => {
    const outgoing = request(`${world.queenUrl}/v2/tasks`, { method: 'POST', headers });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => resolve({ id: String(response.headers['x-request-id']), response }));
    outgoing.end(world.fill(task));
  });
}

function followed(world: RbeeWorld): FollowedTask[] {
  return (world.notes.get('followed') as FollowedTask[] | undefined) ?? [];
}

async function listTasks(world: RbeeWorld) {
  const { tasks } = (await (await fetch(`${world.queenUrl}/v2/tasks`)).json()) as {
    tasks: { job_id: string; state: string; recovered: boolean; tokens_out: number }[];
  };
  return tasks;
}

/** How undecided the engine is, by prompt and number of tokens: to ask it takes a second. */
const gaps = new Map<string, number>();

/** The answer is the engine's own, or parts from it where the engine itself is undecided. */
function assertGreedy(prompt: string, ids: readonly number[], most?: number): void {
  const alone = generateWithEngineAlone(prompt).ids.slice(0, most);
  const at = alone.findIndex((id, index) => id !== ids[index]);
  if (at < 0 && alone.length === ids.length) return;
  const common = alone.slice(0, at < 0 ? alone.length : at);
  const key = `${prompt}: ${common.length}`;
  const gap = gaps.get(key) ?? measureGap(prompt, common);
  gaps.set(key, gap);
  assert(gap < FLOAT_NOISE, `the answer parts after ${common.length} tokens, where the gap is ${gap}`);
}
