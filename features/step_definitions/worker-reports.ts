import assert from 'node:assert/strict';
import { Given, Then, When } from '@cucumber/cucumber';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

type Body = Record<string, unknown>;

function reportOf(node: string, id: string, more: Body = {}): Body {
  const place = { node_name: node, rbee_hive_url: `http://${node}.example:9200`, url: 'http://127.0.0.1:1' };
  return { worker_id: id, model_ref: 'hf:org/repo', backend: 'cpu', slots_total: 4, ...place, ...more };
}

async function send(
  world: RbeeWorld,
  method: string,
  path: string,
  body?: Body,
): Promise<{ status: number; body: Body }> {
  const response = await fetch(`http://127.0.0.1:${world.ports.queen}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
}

const register = (world: RbeeWorld, node: string, id: string, more?: Body) =>
  send(world, 'POST', '/v2/workers/register', reportOf(node, id, more));

async function listed(world: RbeeWorld, capability?: string): Promise<Body[]> {
  const query = capability === undefined ? '' : `?capability=${capability}`;
  return (await send(world, 'GET', `/v2/workers/list${query}`)).body.workers as Body[];
}

When('the hive of {string} registers the worker {string}', async function (this: RbeeWorld, node: string, id: string) {
  this.notes.set('answer', await register(this, node, id));
});

When(
  'the hive of {string} registers the worker {string} with:',
  async function (this: RbeeWorld, node: string, id: string, more: string) {
    const answer = await register(this, node, id, JSON.parse(more));
    assert.equal(answer.status, 201);
  },
);

When(
  /^it sends (PATCH|DELETE) (\S+)(?: with (.+))?$/,
  async function (this: RbeeWorld, method: string, path: string, body?: string) {
    this.notes.set('answer', await send(this, method, path, body && JSON.parse(body)));
  },
);

When(
  'the hives of {string}, {string} and {string} register the worker {string} at once',
  async function (this: RbeeWorld, one: string, two: string, three: string, id: string) {
    this.notes.set('answers', await Promise.all([one, two, three].map((node) => register(this, node, id))));
  },
);

When(
  '{int} changes of {string} between busy with 0 and idle with 4 slots come at once',
  async function (this: RbeeWorld, count: number, id: string) {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        index % 2 === 0
          ? send(this, 'PATCH', `/v2/workers/${id}`, { state: 'busy', slots_available: 0 })
          : send(this, 'POST', `/v2/workers/${id}/heartbeat`, { state: 'idle', slots_available: 4 }),
      ),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  },
);

When(
  'the hive of {string} registers {int} workers at once',
  async function (this: RbeeWorld, node: string, count: number) {
    const answers = await Promise.all(Array.from({ length: count }, (_, index) => register(this, node, `w-${index}`)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  },
);

Given(
  'the worker {string} of {string} beats every {int}ms',
  async function (this: RbeeWorld, id: string, node: string, ms: number) {
    await register(this, node, id);
    const timer = setInterval(() => {
      // The queen may be ending with the scenario.
      send(this, 'POST', `/v2/workers/${id}/heartbeat`, { state: 'idle', slots_available: 4 }).catch(() => undefined);
    }, ms);
    this.onClose(async () => clearInterval(timer));
  },
);

Given(
  'the worker {string} of {string} is registered again and again for {int} s',
  async function (this: RbeeWorld, id: string, node: string, seconds: number) {
    const seen: boolean[] = [];
    for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
      const { status } = await register(this, node, id);
      assert(status === 200 || status === 201);
      seen.push((await listed(this)).some(({ worker_id }) => worker_id === id));
    }
    this.notes.set('seen', seen);
  },
);

When('the queen is killed and started anew', async function (this: RbeeWorld) {
  const queen = this.programs.find(({ name, running }) => running && name.includes('queen-rbee'));
  assert(queen, 'no queen runs');
  queen.kill('SIGKILL');
  await queen.waitForExit();
  await this.startDaemon('queen-rbee');
});

Then(
  "the queen's registry has the worker {string} as {string}",
  async function (this: RbeeWorld, id: string, state: string) {
    const workers = await listed(this);
    assert.deepEqual(
      workers.filter(({ worker_id }) => worker_id === id).map((worker) => worker.state),
      [state],
    );
  },
);

Then("the queen's registry has no worker", async function (this: RbeeWorld) {
  assert.deepEqual(await listed(this), []);
});

Then(
  "the queen's registry, asked for {string}, lists exactly:",
  async function (this: RbeeWorld, capability: string, expected: string) {
    const wanted = JSON.parse(expected) as Body[];
    const workers = await listed(this, capability);
    assert.equal(workers.length, wanted.length);
    for (const [index, facts] of wanted.entries()) {
      const worker = workers[index] ?? {};
      assert.deepEqual(Object.fromEntries(Object.keys(facts).map((name) => [name, worker[name]])), facts);
    }
  },
);

Then("the worker {string} leaves the queen's registry", async function (this: RbeeWorld, id: string) {
  await waitUntil(
    async () => (await listed(this)).every(({ worker_id }) => worker_id !== id),
    () => `${id} is still in the registry`,
  );
});

Then(
  'one of them is answered 201 and the others 409 with the code WORKER_ALREADY_REGISTERED',
  function (this: RbeeWorld) {
    const answers = this.notes.get('answers') as { status: number; body: { error?: { code: string } } }[];
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 409, 409]);
    const codes = answers.filter(({ status }) => status === 409).map(({ body }) => body.error?.code);
    assert.deepEqual(new Set(codes), new Set(['WORKER_ALREADY_REGISTERED']));
  },
);

Then(
  "the queen's registry has the worker {string} busy with 0 or idle with 4 slots",
  async function (this: RbeeWorld, id: string) {
    const worker = (await listed(this)).find(({ worker_id }) => worker_id === id);
    assert.match(`${worker?.state} ${worker?.slots_available}`, /^(busy 0|idle 4)$/);
  },
);

Then("it was in the queen's registry each time", function (this: RbeeWorld) {
  const seen = this.notes.get('seen') as boolean[];
  assert(seen.length > 5);
  assert(seen.every(Boolean));
});

Then("the queen's registry has {int} workers with different ids", async function (this: RbeeWorld, count: number) {
  assert.equal(new Set((await listed(this)).map(({ worker_id }) => worker_id)).size, count);
});
