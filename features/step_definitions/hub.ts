import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFileSync, copyFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Given, Then, When } from '@cucumber/cucumber';
import { type FileSource, splitModel, startTestHub, type TestHub } from '@rbee/fixtures';
import { waitUntil } from '../support/wait.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

const BUNDLED = join(PROJECT, 'models/honeycomb-q4_k_m.gguf');

Given('a hub without models', async function (this: RbeeWorld) {
  await startHub(this);
});

Given('the hub has {string} with the file(s) {string}', async function (this: RbeeWorld, repo: string, list: string) {
  const hub = await startHub(this);
  await hub.addRepo(repo, Object.fromEntries(list.split(', ').map((name) => [name, { path: BUNDLED }])));
});

Given(
  'the hub has {string} with a model of {int} MB as {string}',
  async function (this: RbeeWorld, repo: string, megabytes: number, name: string) {
    const hub = await startHub(this);
    await hub.addRepo(repo, { [name]: { path: writeLongModel(this, name, megabytes) } });
  },
);

Given(
  'the hub has {string} with a model in {int} parts as {string}',
  async function (this: RbeeWorld, repo: string, parts: number, name: string) {
    const hub = await startHub(this);
    const whole = join(this.makeFolder('whole'), `${name}.gguf`);
    copyFileSync(BUNDLED, whole);
    const files = splitModel(whole, parts, this.makeFolder('parts'));
    await hub.addRepo(repo, Object.fromEntries(files.map((path): [string, FileSource] => [basename(path), { path }])));
  },
);

Given(
  'the hub has {string} for holders of the token {string}',
  async function (this: RbeeWorld, repo: string, token: string) {
    const hub = await startHub(this);
    await hub.addRepo(repo, { 'honey.Q4_K_M.gguf': { path: BUNDLED } }, { gated: token });
  },
);

Given('my hub token is {string}', function (this: RbeeWorld, token: string) {
  this.variables.HF_TOKEN = token;
});

Given(/^the hub cuts (\S+) off at (\d+) % once$/, function (this: RbeeWorld, file: string, percent: string) {
  hubOf(this).faults.push({ file, cutAfter: share(this, file, Number(percent)), times: 1 });
});

Given(/^the hub cuts (\S+) off at (\d+) % every time$/, function (this: RbeeWorld, file: string, percent: string) {
  // Of the whole file, so that a download that goes on where it stopped gets no further.
  const limit = share(this, file, Number(percent));
  hubOf(this).faults.push(({ kind, file: asked, range }) => {
    if (kind !== 'content' || asked !== file) return undefined;
    return { cutAfter: Math.max(0, limit - startOf(range)) };
  });
});

Given(/^the hub resets every connection for (\S+)$/, function (this: RbeeWorld, file: string) {
  hubOf(this).faults.push({ file, reset: true });
});

Given(
  /^the hub falls silent at (\d+) % of (\S+) every time$/,
  function (this: RbeeWorld, percent: string, file: string) {
    // Of the whole file, so that what comes after a pause does not help either.
    const limit = share(this, file, Number(percent));
    hubOf(this).faults.push(({ kind, file: asked, range }) => {
      if (kind !== 'content' || asked !== file) return undefined;
      return { stallAfter: Math.max(0, limit - startOf(range)) };
    });
  },
);

Given(/^the hub spoils (\S+) (once|every time)$/, function (this: RbeeWorld, file: string, often: string) {
  hubOf(this).faults.push({ file, corruptAt: 1_000_000, ...(often === 'once' ? { times: 1 } : {}) });
});

Given('the hub sends {int} KB a second', function (this: RbeeWorld, kilobytes: number) {
  hubOf(this).bytesPerSecond = kilobytes * 1024;
});

Given(/^the hub holds (\S+) back at (\d+) %$/, function (this: RbeeWorld, file: string, percent: string) {
  const bytes = share(this, file, Number(percent));
  this.notes
    .set('hold', hubOf(this).pauseAt(file, bytes))
    .set('held bytes', bytes)
    .set('held percent', Number(percent));
});

When('the hub has sent so much', async function (this: RbeeWorld) {
  await this.notes.get('hold');
});

When('the hub goes on', function (this: RbeeWorld) {
  hubOf(this).resume();
});

When("the hub's log is cleared", function (this: RbeeWorld) {
  hubOf(this).clearLog();
});

Then('the hub was asked for nothing', function (this: RbeeWorld) {
  assert.deepEqual(hubOf(this).requests, []);
});

Then('the hub was asked {int} time(s) for a listing', function (this: RbeeWorld, count: number) {
  const listings = hubOf(this).requests.filter(({ kind }) => kind === 'listing');
  assert.equal(listings.length, count, JSON.stringify(listings));
});

Then(/^the hub has sent the bytes of (\S+) once$/, async function (this: RbeeWorld, file: string) {
  const requests = hubOf(this).contentRequests(file);
  const sent = requests.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  assert.equal(sent, sizeOf(this, file), JSON.stringify(requests));
});

Then(/^the hub was asked (\d+) times for (\S+)$/, function (this: RbeeWorld, count: string, file: string) {
  const requests = hubOf(this).contentRequests(file);
  assert.equal(requests.length, Number(count), JSON.stringify(requests));
});

Then(
  /^the hub was asked last for the rest of (\S+) from (\d+) to (\d+) %$/,
  function (this: RbeeWorld, file: string, from: string, to: string) {
    const requests = hubOf(this).contentRequests(file);
    const percent = (100 * startOf(requests.at(-1)?.range)) / sizeOf(this, file);
    assert(percent >= Number(from) && percent <= Number(to), `${percent} %: ${JSON.stringify(requests)}`);
  },
);

Then('no token has reached the content host', function (this: RbeeWorld) {
  const requests = hubOf(this).contentRequests();
  assert(requests.length > 0);
  assert(requests.every(({ authorization }) => !authorization));
});

Then(/^the hub comes to have sent all of (\S+)$/, async function (this: RbeeWorld, file: string) {
  await waitUntil(
    () =>
      hubOf(this)
        .contentRequests(file)
        .some(({ ended }) => ended),
    () => JSON.stringify(hubOf(this).contentRequests(file)),
  );
});

/** The hub of a scenario; its machines know it from their next start on. */
async function startHub(world: RbeeWorld): Promise<TestHub> {
  const running = world.notes.get('hub') as TestHub | undefined;
  if (running) return running;
  const hub = await startTestHub();
  world.notes.set('hub', hub);
  world.variables.HF_ENDPOINT = hub.endpoint;
  world.onClose(() => hub.close());
  return hub;
}

function hubOf(world: RbeeWorld): TestHub {
  const hub = world.notes.get('hub');
  assert(hub, 'the scenario has no hub');
  return hub as TestHub;
}

/** The bundled model, made longer by bytes that no program reads and no two places share. */
function writeLongModel(world: RbeeWorld, name: string, megabytes: number): string {
  const path = join(world.makeFolder('hub'), name.replaceAll('/', '-'));
  copyFileSync(BUNDLED, path);
  appendFileSync(path, randomBytes(megabytes * 2 ** 20 - statSync(path).size));
  return path;
}

function sizeOf(world: RbeeWorld, file: string): number {
  const found = hubOf(world).files.find(({ path }) => path === file);
  assert(found, `the hub has no file ${file}`);
  return found.size;
}

function share(world: RbeeWorld, file: string, percent: number): number {
  return Math.floor((sizeOf(world, file) * percent) / 100);
}

function startOf(range: string | undefined): number {
  return Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
}
