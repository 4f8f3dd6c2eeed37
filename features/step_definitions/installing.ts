import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Given, Then } from '@cucumber/cucumber';
import { findFiles } from '../support/find-files.js';
import { hasCommit, makeBrokenRepository, makeEmptyRepository, makeProjectRepository } from '../support/repository.js';
import { PROJECT, type RbeeWorld } from '../support/world.js';

/** Node.js and pnpm install hundreds of packages on the machine. */
const LONG = { timeout: 240_000 };

Given(
  'a git repository of this project, which is on the branch {string} of two',
  function (this: RbeeWorld, branch: string) {
    const folder = this.makeFolder('repository');
    this.notes.set('commit', makeProjectRepository(folder, branch)).set('repository', `file://${folder}`);
  },
);

Given('a git repository whose build fails with {string}', function (this: RbeeWorld, lastLine: string) {
  const folder = this.makeFolder('repository');
  this.notes.set('commit', makeBrokenRepository(folder, lastLine)).set('repository', `file://${folder}`);
});

Given('the package managers of the machine have a warm store', async function (this: RbeeWorld) {
  const { storeDir } = JSON.parse(readFileSync(join(PROJECT, 'node_modules/.modules.yaml'), 'utf8')) as {
    storeDir: string;
  };
  await this.machine.sharePackages(storeDir);
});

Given('an old Node.js {string} on the machine', function (this: RbeeWorld, name: string) {
  // Whatever it is asked, it says the same: its version, and that of its interface for addons.
  writeFileSync(join(this.machine.home, name), '#!/bin/sh\necho v18.19.0\n', { mode: 0o755 });
});

Then('{string} is installed in the release {string}', LONG, function (this: RbeeWorld, root: string, pattern: string) {
  const current = readlinkSync(join(this.fill(root), 'current'));
  assert.match(current, new RegExp(`^releases/${pattern}$`));
  assert(existsSync(join(this.fill(root), current, 'apps/rbee-hive/bin/rbee-hive.js')), current);
});

Then("{string} is installed in the release of the repository's commit", LONG, function (this: RbeeWorld, root: string) {
  const release = `releases/git-${String(this.notes.get('commit')).slice(0, 12)}`;
  assert.equal(readlinkSync(join(this.fill(root), 'current')), release);
  assert(existsSync(join(this.fill(root), release, 'apps/rbee-hive/bin/rbee-hive.js')));
});

Given('an empty repository {string} on the machine', function (this: RbeeWorld, folder: string) {
  makeEmptyRepository(this.fill(folder));
});

Then('the folder {string} holds the commit of the repository', function (this: RbeeWorld, folder: string) {
  assert(hasCommit(this.fill(folder), String(this.notes.get('commit'))));
});

Then('the folder {string} is not there', function (this: RbeeWorld, folder: string) {
  assert(!existsSync(this.fill(folder)));
});

Then('there is no release in {string}', function (this: RbeeWorld, root: string) {
  const folder = join(this.fill(root), 'releases');
  assert.deepEqual(existsSync(folder) ? readdirSync(folder) : [], []);
  assert(!existsSync(join(this.fill(root), 'current')));
});

Then('no file of the scenario is named {string}', function (this: RbeeWorld, name: string) {
  assert.deepEqual(findFiles(this.makeFolder('.'), name), []);
  assert(!existsSync(join(PROJECT, name)));
});
