import assert from 'node:assert/strict';
import { Given, Then, When } from '@cucumber/cucumber';
import { FLOAT_NOISE, generateWithEngineAlone, measureGap } from '../support/engine-alone.js';
import { OpenStream } from '../support/event-stream.js';
import { has } from '../support/expect.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

const SIGNALS = { 'is killed': 'SIGKILL', 'stands still': 'SIGSTOP', 'is told to end': 'SIGTERM' } as const;

Given('an idle worker for {string} on {word}', async function (this: RbeeWorld, model: string, node: string) {
  const opened = await OpenStream.open(`${this.queenUrl}/v2/tasks`, {
    method: 'POST',
    headers: { Accept: 'text/event-stream' },
    body: JSON.stringify({ node, model, prompt: 'Hello', max_tokens: 1 }),
  });
  await opened.closed;
  assert.equal(opened.terminal.type, 'end', JSON.stringify(opened.terminal));
});

When(
  /^the worker of the open stream (is killed|stands still|is told to end) at token (\d+)$/,
  async function (this: RbeeWorld, fate: keyof typeof SIGNALS, token: string) {
    const opened = stream(this);
    await opened.waitFor((event) => event.type === 'token' && event.i === Number(token), `token ${token}`);
    const id = workerOf(opened);
    const found = this.findProcesses().find(({ command }) => command.includes(id));
    assert(found, `the process of ${id} is not there`);
    process.kill(found.pid, SIGNALS[fate]);
    // A process that was stopped ends with the scenario only if it is let go.
    if (fate === 'stands still') this.onClose(async () => wake(this, id));
    this.notes.set('lost worker', id).set('lost at', performance.now());
  },
);

When('the worker of the keeper is killed once it has written {string}', async function (this: RbeeWorld, text: string) {
  await this.last.waitFor('stdout', new RegExp(text));
  const workers = this.findProcesses().filter(({ command }) => command.includes('--worker-id'));
  assert.equal(workers.length, 1, JSON.stringify(workers));
  const [worker] = workers;
  process.kill(worker?.pid ?? 0, 'SIGKILL');
  const id = /worker-[0-9a-f-]{36}/.exec(worker?.command ?? '')?.[0];
  this.notes.set('lost worker', id).set('lost at', performance.now());
});

Then('the stream was resumed at another worker within {int} s', function (this: RbeeWorld, seconds: number) {
  const opened = stream(this);
  const lost = this.notes.get('lost worker');
  const index = opened.messages.findIndex(({ data }) => data.includes('"action":"task_resumed"'));
  const event = opened.narration('task_resumed')[0];
  assert(event && index >= 0, `nothing was resumed: ${opened.actions.join(', ')}`);
  assert.equal(event.target, lost);
  assert.notEqual(event.worker_id, lost);
  assert(
    opened.narration('task_resume').some((said) => said.worker_id === lost && said.level === 'warn'),
    JSON.stringify(opened.narration('task_resume')),
  );
  const took = (opened.times[index] ?? 0) - Number(this.notes.get('lost at'));
  assert(took <= seconds * 1000, `it took ${took} ms`);
});

Then('the stream was resumed on {word}', function (this: RbeeWorld, node: string) {
  const said = stream(this).narration('task_resumed');
  assert(said.length > 0 && String(said.at(-1)?.human).includes(` on ${node}`), JSON.stringify(said));
});

Then('the answer of the stream to {string} is whole', function (this: RbeeWorld, prompt: string) {
  const opened = stream(this);
  assert.equal(opened.all('started').length, 1);
  assert.deepEqual(
    opened.all('token').map(({ i }) => i),
    opened.all('token').map((_event, index) => index),
  );
  assert.equal(opened.terminal.tokens_out, opened.ids.length);
  assertGreedy(prompt, opened.ids);
});

Then('the open stream ends within {int} s of the loss', async function (this: RbeeWorld, seconds: number) {
  await stream(this).closed;
  const took = (stream(this).times.at(-1) ?? 0) - Number(this.notes.get('lost at'));
  assert(took <= seconds * 1000, `it took ${took} ms`);
});

Then('the error of the stream says that the request may be repeated', function (this: RbeeWorld) {
  const { retryable, details } = stream(this).terminal as unknown as Record<string, Record<string, unknown>>;
  assert.equal(retryable, true);
  assert.match(String(details?.suggestion), /repeat the request/);
});

Then('neither queen nor hive list the lost worker', async function (this: RbeeWorld) {
  const lost = this.notes.get('lost worker');
  const list = async (url: string, headers = {}) =>
    ((await (await fetch(url, { headers })).json()) as { workers: { worker_id: string }[] }).workers;
  await waitUntil(
    async () => {
      const queens = await list(`${this.queenUrl}/v2/workers/list`);
      const hives = await list(`${this.hiveUrl}/v1/workers/list`, this.hiveHeaders);
      return ![...queens, ...hives].some((worker) => has(worker, { worker_id: lost }));
    },
    () => `${lost} is still listed`,
    5_000,
  );
  assert(!this.findProcesses().some(({ command }) => command.includes(String(lost))), `${lost} still runs`);
});

async function wake(world: RbeeWorld, id: string): Promise<void> {
  const found = world.findProcesses().find(({ command }) => command.includes(id));
  if (found) process.kill(found.pid, 'SIGCONT');
}

function stream(world: RbeeWorld): OpenStream {
  const opened = world.notes.get('stream');
  assert(opened, 'the scenario has posted no task');
  return opened as OpenStream;
}

function workerOf(opened: OpenStream): string {
  const id = opened.all('worker').at(-1)?.worker_id;
  assert(id, 'the stream has told of no worker');
  return String(id);
}

/** A greedy answer must be the engine's own, or part from it where the engine itself is undecided. */
function assertGreedy(prompt: string, ids: readonly number[]): void {
  const alone = generateWithEngineAlone(prompt).ids;
  const at = alone.findIndex((id, index) => id !== ids[index]);
  if (at < 0 && ids.length === alone.length) return;
  const common = alone.slice(0, at < 0 ? alone.length : at);
  const gap = measureGap(prompt, common);
  assert(
    gap < FLOAT_NOISE,
    `the answer parts from the engine's after ${common.length} tokens, where the gap is ${gap}`,
  );
}
