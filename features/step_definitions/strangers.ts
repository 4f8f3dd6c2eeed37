import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, relative } from 'node:path';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import { ERROR_CATALOGUE, hiveRoutes, queenRoutes, type RouteTable, workerRoutes } from '@rbee/protocol';
import { type Answered, ask, inTurns, keyOf, SERVICES, type Service } from '../support/ask.js';
import { findProcessesOf } from '../support/leaks.js';
import { countRows } from '../support/row-counts.js';
import type { RbeeWorld } from '../support/world.js';

const TABLES: Record<Service, RouteTable> = { queen: queenRoutes, hive: hiveRoutes, worker: workerRoutes };
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const WITH_BODY = ['POST', 'PUT', 'PATCH', 'DELETE'];
/** What no table has: neighbours of what it has, tricks with the address, and what a browser or a scanner asks for. */
const STRANGE_PATHS = [
  '/',
  '//',
  '/v1',
  '/v2',
  '/v1/health/x',
  '//health',
  '/HEALTH',
  '/health/../v1/workers/list',
  '/health;/v2/tasks',
  '/%68ealth/..%2fv2/tasks',
  '/%zz',
  '/v2/tasks/%zz',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/favicon.ico',
  '/.env',
  '/admin',
  '*',
];

interface Snapshot {
  readonly processes: number[];
  readonly rows: Record<string, number>;
  readonly files: string[];
  readonly lists: unknown[];
}

Given('a stranger listens on the port of the {word}', async function (this: RbeeWorld, service: Service) {
  const seen: { asked: string; authorization: string | undefined }[] = [];
  const server = createServer(({ method, url, headers }, response) => {
    seen.push({ asked: `${method} ${url}`, authorization: headers.authorization });
    response.setHeader('Content-Type', 'application/json').end('{"status": "fine", "version": "9.9.9"}');
  });
  const port = service === 'queen' ? this.ports.queen : this.ports.hive;
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  this.onClose(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
  this.notes.set('what the stranger saw', seen);
});

Then('the stranger was asked, and was shown no key', function (this: RbeeWorld) {
  const seen = this.notes.get('what the stranger saw') as { asked: string; authorization: string | undefined }[];
  assert(seen.length > 0, 'nobody asked the stranger');
  for (const { asked, authorization } of seen) assert.equal(authorization, undefined, asked);
});

When(
  'these Authorization headers are sent to the {word}:',
  async function (this: RbeeWorld, service: Service, table: DataTable) {
    const path = '/v1/workers/list';
    const key = String(keyOf(this, service));
    for (const { header = '', code, reason } of table.hashes()) {
      const authorization = header === '(none)' ? undefined : header.replace('<key>', key).replaceAll('~', ' ');
      const answer = await ask(this, service, {
        method: 'POST',
        path: path.replace('list', 'spawn'),
        authorization,
        body: '{',
      });
      assert.equal(answer.headers['www-authenticate'], 'Bearer', header);
      assert.match(String(answer.headers['content-type']), /^application\/json/, header);
      const { error } = JSON.parse(answer.text) as { error: Record<string, unknown> & { details: { reason: string } } };
      assert.deepEqual(
        [answer.status, error.code, error.details.reason],
        [401, code, reason],
        `${header}: ${answer.text}`,
      );
      assert.equal(error.correlation_id, answer.headers['x-correlation-id']);
      assertShowsNoPart(answer.text, [key, ...(authorization?.split(' ').slice(1) ?? [])]);
    }
  },
);

When(
  'all routes of the three services are tried without a key, with a wrong one and with the ones of the others',
  { timeout: 120_000 },
  async function (this: RbeeWorld) {
    const before = await look(this);
    const tries = SERVICES.flatMap((service) => {
      const others = SERVICES.filter((other) => other !== service).map((other) => `Bearer ${keyOf(this, other)}`);
      return addressesOf(service).flatMap((path) =>
        METHODS.flatMap((method) =>
          [undefined, 'Bearer wasp-nest-456', ...(method === 'POST' && !isForWorkers(service, path) ? others : [])].map(
            (authorization) => ({ service, path, method, authorization }),
          ),
        ),
      );
    });
    assert(tries.length > 1_000, `${tries.length} requests`);
    await inTurns(tries, 20, async ({ service, path, method, authorization }) => {
      const body = WITH_BODY.includes(method) ? '{"worker_id": "x1", "prompt": "hello"}' : undefined;
      const answer = await ask(this, service, { path, method, authorization, body });
      assertRefused(answer, `${method} ${path} of the ${service} with ${authorization ?? 'no key'}`);
    });
    assert.deepEqual(await look(this), before, 'something was done');
  },
);

When(
  'paths that no table has are tried, without a key and with the right one',
  { timeout: 60_000 },
  async function (this: RbeeWorld) {
    const before = await look(this);
    const random = Array.from(
      { length: 60 },
      (_, index) => `/${['v1', 'v2', 'x'][index % 3]}/${index.toString(36)}z/${index}`,
    );
    const tries = SERVICES.flatMap((service) => {
      const own = addressesOf(service).map(toPattern);
      const ofOthers = SERVICES.filter((other) => other !== service).flatMap(addressesOf);
      const paths = [...new Set([...STRANGE_PATHS, ...ofOthers, ...random])];
      return paths
        .filter((path) => !own.some((pattern) => pattern.test(path)) && !isHealth(path))
        .flatMap((path) => ['GET', 'POST'].map((method) => ({ service, path, method })));
    });
    await inTurns(tries, 20, async ({ service, path, method }) => {
      const what = `${method} ${path} of the ${service}`;
      assertRefused(await ask(this, service, { path, method, authorization: undefined }), `${what} without a key`);
      const answer = await ask(this, service, { path, method });
      const { code } = assertEnvelope(answer, what);
      assert([400, 404, 405].includes(answer.status), `${what}: ${answer.status} ${code}`);
    });
    assert.deepEqual(await look(this), before, 'something was done');
  },
);

Then('health of the three services is open to everybody, for reading only', async function (this: RbeeWorld) {
  for (const service of SERVICES) {
    for (const path of ['/health', '/v1/health']) {
      for (const authorization of [undefined, 'Bearer wasp-nest-456']) {
        assert.equal((await ask(this, service, { path, authorization })).status, 200, `${service} ${path}`);
      }
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const answer = await ask(this, service, { path, method, authorization: undefined });
        assert.equal(answer.status, 405, `${method} ${path} of the ${service}`);
      }
    }
  }
});

Then('a worker speaks for itself alone, and a stranger for none', async function (this: RbeeWorld) {
  const own = `Bearer ${keyOf(this, 'worker')}`;
  const mine = String(this.notes.get('worker'));
  const beat = (worker_id: string, authorization: string | undefined) => {
    const body = JSON.stringify({ worker_id, timestamp: new Date().toISOString(), health_status: 'healthy' });
    return ask(this, 'hive', { method: 'POST', path: '/v1/heartbeat', authorization, body });
  };
  const ready = (worker_id: string, authorization: string | undefined) => {
    const about = { url: 'http://127.0.0.1:1', model_ref: 'hf:a/b', backend: 'cpu', device: 0 };
    const body = JSON.stringify({ worker_id, ...about });
    return ask(this, 'hive', { method: 'POST', path: '/v1/workers/ready', authorization, body });
  };
  assert.equal((await beat(mine, own)).status, 200);
  assertRefused(await beat('worker-of-nobody', own), 'a heartbeat for another worker');
  assertRefused(await ready('worker-of-nobody', own), 'a report for another worker');
  assertRefused(await ready('worker-of-nobody', undefined), 'a report without a key');
  assertRefused(await beat(mine, 'Bearer wasp-nest-456'), 'a heartbeat with a wrong key');
  assertRefused(await beat(mine, `Bearer ${keyOf(this, 'queen')}`), "a heartbeat with the queen's key");
});

When(
  '{int} requests with the right key and {int} with a wrong one come to the {word} at once',
  async function (this: RbeeWorld, right: number, wrong: number, service: Service) {
    const path = '/v2/tasks';
    const good = Array.from({ length: right }, () => ask(this, service, { path }));
    const bad = Array.from({ length: wrong }, (_, index) =>
      ask(this, service, { path, authorization: `Bearer wasp-nest-${index}` }),
    );
    const answers = await Promise.all([...good, ...bad]);
    const wanted = [...good.map(() => 200), ...bad.map(() => 401)];
    assert.deepEqual(
      answers.map(({ status }) => status),
      wanted,
    );
    const slowest = Math.max(...answers.map(({ ms }) => ms));
    assert(slowest < 5_000, `the slowest answer took ${slowest} ms`);
  },
);

function addressesOf(service: Service): string[] {
  const paths = Object.values(TABLES[service]).flatMap((route) =>
    route.open ? [] : [route.path, ...(route.aliases ?? []).map(({ path }) => path)],
  );
  return [...new Set(paths.map((path) => path.replace(/\{\w+\}/g, 'x1')))];
}

/** Whether workers call it with their own keys. */
function isForWorkers(service: Service, path: string): boolean {
  return Object.values(TABLES[service]).some((route) => route.callers === 'workers' && route.path === path);
}

/** A path of a table with other values in its places is the same address. */
function toPattern(path: string): RegExp {
  return new RegExp(`^${path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('x1', '[^/]+')}/?$`);
}

function isHealth(path: string): boolean {
  return /^\/(v1\/)?health$/.test(path);
}

function assertRefused(answer: Answered, what: string): void {
  assert.equal(answer.status, 401, `${what}: ${answer.status} ${answer.text}`);
  assert.equal(answer.headers['www-authenticate'], 'Bearer', what);
  // The answer to HEAD has no body.
  if (answer.text === '' && what.startsWith('HEAD')) return;
  const { code } = assertEnvelope(answer, what);
  assert(['MISSING_API_KEY', 'INVALID_API_KEY'].includes(code), `${what}: ${code}`);
}

function assertEnvelope(answer: Answered, what: string): { code: string } {
  assert.match(String(answer.headers['content-type']), /^application\/json/, `${what}: ${answer.text}`);
  const { error } = JSON.parse(answer.text) as { error: { code: string; correlation_id: string } };
  assert(error.code in ERROR_CATALOGUE, `${what}: ${answer.text}`);
  assert.equal(error.correlation_id, answer.headers['x-correlation-id'], what);
  return error;
}

/** No six characters in a row of a key stand in a text. */
function assertShowsNoPart(text: string, keys: readonly string[]): void {
  for (const key of keys) {
    for (let at = 0; at + 6 <= key.length; at++) {
      assert(!text.includes(key.slice(at, at + 6)), `a part of the key stands in ${text}`);
    }
  }
}

/** What must not change when nobody with a key asks for anything. */
async function look(world: RbeeWorld): Promise<Snapshot> {
  const lists = [
    await listOf(world, 'queen', '/v2/tasks'),
    await listOf(world, 'queen', '/v2/workers/list'),
    await listOf(world, 'queen', '/v2/registry/beehives/list'),
    await listOf(world, 'hive', '/v1/workers/list'),
    await listOf(world, 'hive', '/v1/models/list'),
    await listOf(world, 'worker', '/v1/ready'),
  ];
  const processes = findProcessesOf(world.home)
    .map(({ pid }) => pid)
    .sort();
  return { processes, rows: countRows(world.home), files: filesOf(world.home, world.home), lists };
}

async function listOf(world: RbeeWorld, service: Service, path: string): Promise<unknown> {
  const answer = await ask(world, service, { path });
  assert.equal(answer.status, 200, answer.text);
  // Signs of life come by themselves.
  return JSON.parse(answer.text, (name, value) => (/^last_/.test(name) ? undefined : value));
}

/** Names and sizes below a folder, without what is written down of every request. */
function filesOf(folder: string, home: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      const name = relative(home, path);
      if (name === '.rbee/logs' || name === 'tmp' || /\.db(-wal|-shm)?$|\.log$/.test(name)) return [];
      if (entry.isDirectory()) return filesOf(path, home);
      return [`${name} ${statSync(path).size}`];
    })
    .sort();
}
