import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Given, Then, When } from '@cucumber/cucumber';
import { splitCommandLine } from '../support/command-line.js';
import { assertGreedyAnswer, generateWithEngineAlone } from '../support/engine-alone.js';
import { Program } from '../support/program.js';
import type { RbeeWorld } from '../support/world.js';

const STORY = /^Once upon a time[\s\S]{100,}[.!"]\n$/;

When(/^I run `(.+)`$/, async function (this: RbeeWorld, line: string) {
  await this.startCommand(line).waitForExit();
});

When(
  /^I run `(.+)` for at most (\d+) s$/,
  { timeout: 300_000 },
  async function (this: RbeeWorld, line: string, s: string) {
    await this.startCommand(line).waitForExit(Number(s) * 1000);
  },
);

When(/^I start `([^`]+)`$/, function (this: RbeeWorld, line: string) {
  this.startCommand(line);
});

When(/^I start `(.+)` twice at once$/, function (this: RbeeWorld, line: string) {
  this.notes.set('twins', [this.startCommand(line), this.startCommand(line)]);
});

When(/^I start `(.+)` on a terminal$/, function (this: RbeeWorld, line: string) {
  const [name = '', ...args] = splitCommandLine(line);
  const words = [process.execPath, join(this.project, `apps/${name}/bin/${name}.js`), ...args];
  const program = new Program({
    command: 'script',
    args: ['-qec', words.map((word) => `'${word}'`).join(' '), '/dev/null'],
    variables: { ...this.variables, TERM: 'xterm' },
    cwd: this.home,
  });
  this.programs.push(program);
});

When(/^I converse with `(.+)`:$/, async function (this: RbeeWorld, line: string, turns: string) {
  await this.startCommand(line, { input: `${turns}\n` }).waitForExit();
});

When('it has written to stdout', async function (this: RbeeWorld) {
  await this.last.waitFor('stdout', /./);
});

When('I press Ctrl+C', function (this: RbeeWorld) {
  this.notes.set('interrupted at', performance.now());
  this.last.kill('SIGINT');
});

When('I tell it to end', function (this: RbeeWorld) {
  this.last.kill('SIGTERM');
});

When('I kill it', async function (this: RbeeWorld) {
  this.last.kill('SIGKILL');
  await this.last.waitForExit();
});

Given('a prompt file {string} of {int} words', function (this: RbeeWorld, name: string, count: number) {
  writeFileSync(join(this.home, name), 'honey '.repeat(count));
});

Given('a private file {string} that says {string}', function (this: RbeeWorld, name: string, text: string) {
  writeFileSync(join(this.home, name), `${text}\n`, { mode: 0o600 });
});

Given('a configuration file that says:', function (this: RbeeWorld, text: string) {
  const folder = join(this.home, '.config', 'rbee');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.toml'), this.fill(text));
});

Given('the variable {word} is {string}', function (this: RbeeWorld, name: string, value: string) {
  this.variables[name] = value;
});

Given('I am an unprivileged user whose home folder is read-only', function (this: RbeeWorld) {
  this.becomeUnprivileged();
  chmodSync(this.home, 0o555);
  this.onClose(async () => chmodSync(this.home, 0o755));
});

Then('the exit code is {int}', async function (this: RbeeWorld, code: number) {
  assert.equal(await this.last.waitForExit(), code, this.last.report());
});

Then('the exit code is {int} or {int}', async function (this: RbeeWorld, one: number, other: number) {
  const code = await this.last.waitForExit();
  assert(code === one || code === other, `exit code ${code}\n${this.last.report()}`);
});

Then('both exit codes are {int}', async function (this: RbeeWorld, code: number) {
  for (const program of twins(this)) assert.equal(await program.waitForExit(), code, program.report());
});

Then('both wrote a story', function (this: RbeeWorld) {
  for (const program of twins(this)) assert.match(program.text.stdout, STORY);
});

Then('stdout is empty', function (this: RbeeWorld) {
  assert.equal(this.last.text.stdout, '', this.last.report());
});

Then('stdout is not empty', function (this: RbeeWorld) {
  assert.notEqual(this.last.text.stdout.trim(), '');
});

Then('stdout is a story', function (this: RbeeWorld) {
  assert.match(this.last.text.stdout, STORY);
});

Then('stdout is {string}', function (this: RbeeWorld, text: string) {
  assert.equal(this.last.text.stdout, `${text}\n`);
});

Then('stdout is the greedy story', function (this: RbeeWorld) {
  assert.equal(this.last.text.stdout, `${generateWithEngineAlone('write a short story').text}\n`);
});

Then('stdout is the greedy story, up to float noise', function (this: RbeeWorld) {
  const { stdout } = this.last.text;
  assert(stdout.endsWith('\n'));
  assertGreedyAnswer('write a short story', stdout.slice(0, -1));
});

Then('stdout is what the engine alone makes of {string}', function (this: RbeeWorld, prompt: string) {
  assert.equal(this.last.text.stdout, `${generateWithEngineAlone(prompt).text}\n`);
});

Then('stdout ends with a line break', function (this: RbeeWorld) {
  assert.match(this.last.text.stdout, /[^\n]\n$/);
});

Then('{word} shows {string}', function (this: RbeeWorld, output: 'stdout' | 'stderr', text: string) {
  assert.match(this.last.text[output], toPattern(this, text), this.last.report());
});

Then('stderr does not show {string}', function (this: RbeeWorld, text: string) {
  assert.doesNotMatch(this.last.text.stderr, toPattern(this, text));
});

Then('stdout does not show {string}', function (this: RbeeWorld, text: string) {
  assert.doesNotMatch(this.last.text.stdout, toPattern(this, text));
});

Then('stdout comes to show {string}', async function (this: RbeeWorld, text: string) {
  await this.last.waitFor('stdout', toPattern(this, text));
});

Then(/^the terminal shows \/(.+)\/$/, async function (this: RbeeWorld, pattern: string) {
  await this.last.waitFor('stdout', new RegExp(pattern));
});

Then('stdout came in many pieces', function (this: RbeeWorld) {
  assert(this.last.outputPieces > 5, `${this.last.outputPieces} pieces`);
});

Then('it ended within {int} s of Ctrl+C', async function (this: RbeeWorld, seconds: number) {
  await this.last.waitForExit();
  const endedAt = this.last.startedAt + (this.last.durationMs as number);
  const ms = endedAt - (this.notes.get('interrupted at') as number);
  assert(ms < seconds * 1000, `it took ${ms} ms`);
});

Then('it took less than {int} s', function (this: RbeeWorld, seconds: number) {
  assert((this.last.durationMs ?? Number.POSITIVE_INFINITY) < seconds * 1000);
});

Then(
  "the second answer reports at least as many cached tokens as the first turn's prompt had",
  function (this: RbeeWorld) {
    const answers = this.last.text.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { prompt_tokens: number; cached_tokens: number });
    assert.equal(answers.length, 2, this.last.report());
    const [first, second] = answers as [(typeof answers)[0], (typeof answers)[0]];
    assert(first.prompt_tokens > 0);
    assert(second.cached_tokens >= first.prompt_tokens, JSON.stringify(answers));
  },
);

function twins(world: RbeeWorld): Program[] {
  return world.notes.get('twins') as Program[];
}

/** A text of a scenario as a pattern: `|` separates alternatives, everything else stands for itself. */
function toPattern(world: RbeeWorld, text: string): RegExp {
  const alternatives = world.fill(text).split('|');
  return new RegExp(alternatives.map((part) => part.replace(/[.*+?^${}()[\]\\]/g, '\\$&')).join('|'), 'i');
}
