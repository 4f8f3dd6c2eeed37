import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type DataTable, Given, Then, When } from '@cucumber/cucumber';
import { ask, type Keys, keyOf, type Service, urlOf } from '../support/ask.js';
import { has } from '../support/expect.js';
import type { Program } from '../support/program.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

const SETTINGS: Partial<Record<Service, string>> = { queen: 'api_token_file', hive: 'hive_token_file' };

Given('the {word} has the key {string}', function (this: RbeeWorld, service: Service, key: string) {
  giveKey(this, service, key);
});

Given('the {word} has the key:', function (this: RbeeWorld, service: Service, key: string) {
  giveKey(this, service, key);
});

Given('a configuration file {string} that says:', function (this: RbeeWorld, name: string, text: string) {
  writeFileSync(join(this.home, name), this.fill(text));
});

Given('a key file {string} of mode {word} that says {string}', writeKeyFile);

Given('the service manager gives the queen the key {string}', function (this: RbeeWorld, key: string) {
  const folder = this.makeFolder('credentials');
  writeFileSync(join(folder, 'api_token'), key, { mode: 0o400 });
  this.variables.CREDENTIALS_DIRECTORY = folder;
  noteKey(this, 'queen', key);
});

Given('a hive runs as it was installed, with a key that its queen was not told of', async function (this: RbeeWorld) {
  const file = join(this.home, '.rbee/secrets/hive.token');
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, 'the-installed-key-of-a-hive\n', { mode: 0o600 });
  const hive = this.start('rbee-hive', ['daemon'], { variables: { RBEE_HIVE_TOKEN_FILE: file } });
  await this.waitForHealth(hive, `${this.hiveUrl}/v1/health`);
  this.notes.set('hive', hive);
});

Given('a worker of the hive that has its own key', async function (this: RbeeWorld) {
  const body = JSON.stringify({ model: 'builtin:honeycomb', backend: 'cpu' });
  const answer = await ask(this, 'hive', { method: 'POST', path: '/v1/workers/spawn', body });
  assert.equal(answer.status, 200, answer.text);
  const { worker_id: id, url, api_key: key } = JSON.parse(answer.text) as Record<string, string>;
  this.notes.set('worker', id).set('worker url', url).set('worker key', key);
  let detail = '';
  await waitUntil(
    async () => {
      detail = (await ask(this, 'hive', { path: `/v1/workers/${id}` })).text;
      return (JSON.parse(detail) as { state: string }).state === 'idle';
    },
    () => `the worker never came to be idle: ${detail}`,
  );
});

Given('a worker runs by itself', async function (this: RbeeWorld) {
  const port = this.ports.workers;
  const program = this.start('llm-worker-rbee', ['--port', String(port)]);
  this.notes.set('lone worker', program).set('worker url', `http://127.0.0.1:${port}`);
  await this.waitForHealth(program, `http://127.0.0.1:${port}/health`);
});

When('these programs are run with such key files:', async function (this: RbeeWorld, table: DataTable) {
  const cases = table.hashes().map(({ 'key file': kind = '', command = '', says = '' }, index) => {
    const file = join(this.home, `case-${index}.key`);
    makeKeyFile(file, kind);
    return { command: command.replace('<key file>', file), file, says, kind };
  });
  const runs = cases.map(({ command, ...rest }) => ({ program: this.startCommand(command), ...rest }));
  for (const { program, file, says, kind } of runs) {
    assert.equal(await program.waitForExit(), 1, `${kind}\n${program.report()}`);
    assert.equal(program.text.stdout, '', program.report());
    for (const part of [...says.split(' and '), file]) assert(program.text.stderr.includes(part), program.report());
    assert(!program.text.stderr.includes('honey-jar'), program.report());
  }
});

When('the {word} is given the new key {string}', async function (this: RbeeWorld, service: Service, key: string) {
  const old = keyOf(this, service);
  assert(old !== undefined, `the ${service} has no key`);
  writeFileSync(keyFileOf(this, service), `${key}\n`);
  noteKey(this, service, key);
  daemonOf(this, service).kill('SIGHUP');
  const path = closedPath(service);
  await waitUntil(
    async () => (await ask(this, service, { path, authorization: `Bearer ${key}` })).status === 200,
    () => `the ${service} does not take its new key\n${daemonOf(this, service).report()}`,
    5_000,
  );
  assert.equal((await ask(this, service, { path, authorization: `Bearer ${old}` })).status, 401);
});

When(
  'the key file of the {word} comes to say {string} in mode {word}',
  async function (this: RbeeWorld, service: Service, text: string, mode: string) {
    writeFileSync(keyFileOf(this, service), text.replaceAll('\\n', '\n'));
    chmodSync(keyFileOf(this, service), Number.parseInt(mode, 8));
    daemonOf(this, service).kill('SIGHUP');
  },
);

Then('the {word} says so as an error and goes on with its key', async function (this: RbeeWorld, service: Service) {
  await findLine(this, service, { level: 'error' });
  assert.equal((await ask(this, service, { path: closedPath(service) })).status, 200);
  assert.equal((await ask(this, service, { path: closedPath(service), authorization: undefined })).status, 401);
  assert(daemonOf(this, service).running);
});

Then('the {word} wants a key of its callers', async function (this: RbeeWorld, service: Service) {
  const path = closedPath(service);
  assert.equal((await ask(this, service, { path, authorization: undefined })).status, 401);
  assert.equal((await ask(this, service, { path })).status, 200);
});

Then('the {word} does not take the key of the {word}', async function (this: RbeeWorld, one: Service, other: Service) {
  const answer = await ask(this, one, { path: closedPath(one), authorization: `Bearer ${keyOf(this, other)}` });
  assert.equal(answer.status, 401, answer.text);
});

Then("the hive's key is in a file of its own that only its owner can read", function (this: RbeeWorld) {
  const file = join(this.home, '.rbee/secrets/hive.token');
  assert(existsSync(file), `there is no ${file}`);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(readFileSync(file, 'utf8'), /^\S{32,}\n$/);
});

Then('the log of the {word} has a line with:', async function (this: RbeeWorld, service: Service, expected: string) {
  await findLine(this, service, JSON.parse(fillFingerprints(this, expected)) as Record<string, unknown>);
});

Then('the log of the {word} has no line with:', function (this: RbeeWorld, service: Service, expected: string) {
  const fields = JSON.parse(fillFingerprints(this, expected)) as Record<string, unknown>;
  const found = readLog(this, service).filter((line) => has(line, fields));
  assert.deepEqual(found, []);
});

Then('the log of the {word} names the key of the {word}', async function (this: RbeeWorld, one: Service, of: Service) {
  const identity = fingerprintOf(this, of);
  await waitUntil(
    () => readLog(this, one).some((line) => line.identity === identity),
    () => `the log of the ${one} has no line with ${identity}`,
    5_000,
  );
});

Then('the log of the {word} never names the key of the {word}', function (this: RbeeWorld, one: Service, of: Service) {
  const identity = fingerprintOf(this, of);
  const lines = readLog(this, one).filter((line) => JSON.stringify(line).includes(identity));
  assert.deepEqual(lines, [], `${identity} is in the log of the ${one}`);
});

Then('the terminal of {word} says that authentication is off', function (this: RbeeWorld, name: string) {
  const program = name === 'worker' ? (this.notes.get('lone worker') as Program) : daemonOf(this, name as Service);
  assert.match(program.text.stderr, /authentication is off/, program.report());
});

Then('no key is anywhere but in its file', function (this: RbeeWorld) {
  assert.deepEqual(this.secrets.findLeaks(), []);
});

Then('{string} stands in no log, no output and no process list', function (this: RbeeWorld, secret: string) {
  this.secrets.keep(secret, 'a step');
  assert.deepEqual(this.secrets.findLeaks(), []);
});

function writeKeyFile(this: RbeeWorld, name: string, mode: string, text: string): void {
  const file = join(this.home, name);
  writeFileSync(file, text);
  chmodSync(file, Number.parseInt(mode, 8));
}

function giveKey(world: RbeeWorld, service: Service, key: string): void {
  const setting = SETTINGS[service];
  assert(setting, `the key of a ${service} is made by its hive`);
  writeFileSync(keyFileOf(world, service), `${key}\n`, { mode: 0o600 });
  noteKey(world, service, key);
  const file = join(world.home, '.config/rbee/config.toml');
  mkdirSync(dirname(file), { recursive: true });
  const heading = existsSync(file) ? '' : '[auth]\n';
  appendFileSync(file, `${heading}${setting} = "${keyFileOf(world, service)}"\n`);
}

function noteKey(world: RbeeWorld, service: Service, key: string): void {
  const keys = (world.notes.get('keys') ?? {}) as Keys;
  world.notes.set('keys', { ...keys, [service]: key });
  world.secrets.keep(key, `the key of the ${service}`);
}

function keyFileOf(world: RbeeWorld, service: Service): string {
  return join(world.home, `${service}.key`);
}

function daemonOf(world: RbeeWorld, service: Service): Program {
  const program = world.notes.get(service);
  assert(program, `the scenario has started no ${service}`);
  return program as Program;
}

/** A path that answers 200 to whoever has the key. */
function closedPath(service: Service): string {
  return { queen: '/v2/tasks', hive: '/v1/workers/list', worker: '/v1/ready' }[service];
}

/** Makes what a key file must not be. */
function makeKeyFile(file: string, kind: string): void {
  const write = (text: string, mode: number) => {
    writeFileSync(file, text);
    chmodSync(file, mode);
  };
  const kinds: Record<string, () => void> = {
    missing: () => undefined,
    'a folder': () => mkdirSync(file, { mode: 0o700 }),
    'a pipe': () => execFileSync('mkfifo', ['--mode=600', file]),
    'readable by all': () => write('honey-jar-123\n', 0o644),
    'readable by its group': () => write('honey-jar-123\n', 0o640),
    empty: () => write('', 0o600),
    blank: () => write(' \t\n', 0o600),
    'two lines': () => write('honey-jar-123\nhoney-jar-456\n', 0o600),
  };
  const make = kinds[kind];
  assert(make, `no such key file: ${kind}`);
  make();
}

function fingerprintOf(world: RbeeWorld, service: Service): string {
  const key = keyOf(world, service);
  assert(key !== undefined, `the ${service} has no key`);
  return toFingerprint(key);
}

function toFingerprint(key: string): string {
  return `token:${createHash('sha256').update(key).digest('hex').slice(0, 6)}`;
}

function fillFingerprints(world: RbeeWorld, text: string): string {
  return world
    .fill(text)
    .replace(/<fingerprint of "([^"]+)">/g, (_match, key: string) => toFingerprint(key))
    .replace(/<fingerprint of the (queen|hive|worker)>/g, (_match, name: Service) => fingerprintOf(world, name));
}

/** Lines of JSON of a service's log file. */
function readLog(world: RbeeWorld, service: Service): Record<string, unknown>[] {
  const names = { queen: 'queen-rbee.log', hive: 'rbee-hive.log', worker: `worker-${worldWorker(world)}.log` };
  const file = join(world.home, '.rbee/logs', names[service]);
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function worldWorker(world: RbeeWorld): string {
  return String(world.notes.get('worker')).replace(/^worker-/, '');
}

async function findLine(world: RbeeWorld, service: Service, fields: Record<string, unknown>): Promise<void> {
  await waitUntil(
    () => readLog(world, service).some((line) => has(line, fields)),
    () => {
      const last = readLog(world, service).slice(-12);
      return `the log of the ${service} (${urlOf(world, service)}) has no line with ${JSON.stringify(fields)}: ${JSON.stringify(last, null, 1)}`;
    },
    5_000,
  );
}
