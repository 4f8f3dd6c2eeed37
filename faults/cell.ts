import type { TestHub } from '@rbee/fixtures';
import type { Program } from '../features/support/program.js';
import { waitUntil } from '../features/support/wait.js';
import { type Cell, ERROR_WITHIN_MS, expectationOf, type Phase } from './matrix.js';
import { MODEL } from './model.js';
import { setStage } from './phases.js';
import { NODE, Site } from './site.js';
import { strike } from './strike.js';

/** Longest time until a new task has its answer, everything that has to be started for it included. */
const AGAIN_MS = 30_000;
/** Longest time until an undisturbed answer; the first needs everything to be started. */
const UNDISTURBED_MS = 90_000;
const TOKENS = 150;
/** One token a character: long enough that it can be struck while it is evaluated. */
const LONG_PROMPT = 'tell me of bees and honey '.repeat(12);
const SHORT_PROMPT = 'tell me of bees';

export interface CellResult extends Cell {
  readonly outcome: 'same' | 'error' | 'cancelled' | 'n/a' | 'wrong';
  /** Whether it was the expected one, and nothing was left behind. */
  readonly ok: boolean;
  /** From the fault to the outcome. */
  readonly ms: number;
  /** What is not as it should be, or why the cell has no meaning. */
  readonly notes: readonly string[];
}

/** Undisturbed answers by prompt. */
type Answers = Readonly<Record<'short' | 'long', string>>;

/** What the same commands print when nothing goes wrong. */
export async function answerUndisturbed(hub: TestHub): Promise<Answers> {
  const site = await Site.open({ way: 'ssh', hubEndpoint: hub.endpoint, slots: 1 });
  try {
    await site.startQueen();
    await site.addNode();
    const short = await answerOf(ask(site, 'decode'));
    const long = await answerOf(ask(site, 'prompt'));
    const left = await site.close();
    if (left.length > 0) throw new Error(`an undisturbed site leaves behind: ${left.join(', ')}`);
    return { short, long };
  } finally {
    site.destroy();
  }
}

/** Runs one cell on a site of its own. Never throws: what fails is a wrong outcome. */
export async function runCell(cell: Cell, hub: TestHub, answers: Answers, keep: boolean): Promise<CellResult> {
  const expected = expectationOf(cell);
  if (expected.outcomes.includes('n/a')) return { ...cell, outcome: 'n/a', ok: true, ms: 0, notes: [expected.why] };
  const way = cell.fault === 'link' && (cell.process === 'hive' || cell.process === 'worker') ? 'direct' : 'ssh';
  const notes: string[] = [];
  let outcome: CellResult['outcome'] = 'wrong';
  let ms = Number.NaN;
  const site = await Site.open({ way, hubEndpoint: hub.endpoint, slots: 1 });
  try {
    await site.startQueen();
    await site.addNode();
    const stage = await setStage(cell.phase, site, hub);
    const keeper = ask(site, cell.phase, cell.fault === 'link' ? site.throughRelay : {});
    await stage.reached(keeper);
    const struckAt = performance.now();
    const blow = await strike(cell, site, keeper);
    await stage.release();
    if (cell.process === 'keeper' && cell.fault === 'SIGKILL') {
      await untilCancelled(site, expected.withinMs);
      ms = performance.now() - struckAt;
      outcome = 'cancelled';
      await keeper.waitForExit();
    } else {
      const exit = await keeper.waitForExit(expected.withinMs);
      ms = performance.now() - struckAt;
      await blow.over;
      const text = cell.phase === 'prompt' ? answers.long : answers.short;
      if (exit === 0 && keeper.text.stdout === text) outcome = 'same';
      else if (exit === 1) outcome = 'error';
      if (outcome === 'wrong') notes.push(describeDifference(keeper, exit, text));
      if (outcome === 'error') notes.push(...checkError(keeper, expected.codes, ms));
    }
    if (!expected.outcomes.includes(outcome as 'same')) notes.push(`${outcome} is not what had to be: ${expected.why}`);
    await again(site, answers.short);
  } catch (error) {
    notes.push((error as Error).message);
    if (outcome !== 'wrong') notes.push('afterwards');
  }
  hub.resume();
  const left = await site.close();
  if (left.length > 0) notes.push(`left behind: ${left.join(', ')}`);
  // An error that is expected is told as well.
  const harmless = outcome === 'error' ? 1 : 0;
  const ok = expected.outcomes.includes(outcome as 'same') && notes.length === harmless;
  if (keep && !ok) notes.push(`kept in ${site.folder}`);
  else site.remove();
  return { ...cell, outcome, ok, ms, notes };
}

/** Starts the command of a user. */
function ask(site: Site, phase: Phase, variables: Readonly<Record<string, string>> = {}): Program {
  const prompt = phase === 'prompt' ? LONG_PROMPT : SHORT_PROMPT;
  const args = ['infer', '--verbose', '--node', NODE, '--model', MODEL, '--raw', '--prompt', prompt];
  return site.keeper([...args, '--temperature', '0', '--max-tokens', String(TOKENS)], variables);
}

async function answerOf(keeper: Program): Promise<string> {
  if ((await keeper.waitForExit(UNDISTURBED_MS)) !== 0) throw new Error(keeper.report());
  return keeper.text.stdout;
}

/** No task runs and no slot is taken, except what holds the slot of others. */
async function untilCancelled(site: Site, withinMs: number): Promise<void> {
  const over = /^(ended|failed|cancelled)$/;
  await waitUntil(
    async () => {
      const tasks = (await site.tasks()).filter(({ job_id, state }) => !/^filler/.test(job_id) && !over.test(state));
      const busy = (await site.workers()).filter((worker) => worker.slots_available < worker.slots_total);
      // A worker that loads for nobody any more is there for the next one.
      return tasks.length === 0 && busy.every(({ state }) => /^(draining|provisioning|starting|loading)$/.test(state));
    },
    () => 'the task of a keeper that was killed is not over',
    withinMs,
  );
}

/** A new task works, whatever has happened. */
async function again(site: Site, text: string): Promise<void> {
  const began = performance.now();
  const keeper = ask(site, 'decode');
  const exit = await keeper.waitForExit(AGAIN_MS);
  if (exit !== 0 || keeper.text.stdout !== text) {
    throw new Error(`a new task failed after ${Math.round(performance.now() - began)} ms: ${errorOf(keeper)}`);
  }
}

/** What is wrong with an error, beginning with a short form of the error itself. */
function checkError(keeper: Program, codes: RegExp | undefined, ms: number): string[] {
  const { stderr } = keeper.text;
  const code = /^\s+code: (\w+)$/m.exec(stderr)?.[1] ?? 'no code';
  const notes = [errorOf(keeper)];
  if (!codes?.test(code)) notes.push(`the code ${code} is not one of those expected`);
  if (
    !/rbee-keeper \w|repeat the (request|command)|: ping \S+, then ssh /i.test(stderr.slice(stderr.indexOf('code:')))
  ) {
    notes.push('the error does not say what to do next');
  }
  if (ms > ERROR_WITHIN_MS + 10_000) notes.push(`it took ${Math.round(ms)} ms`);
  return notes;
}

function errorOf(keeper: Program): string {
  const { stderr } = keeper.text;
  const at = stderr.search(/^\S*.*Error:/m);
  return (at === -1 ? stderr.slice(-400) : stderr.slice(at, at + 400)).replaceAll(/\s+/g, ' ').trim();
}

function describeDifference({ text: { stdout, stderr } }: Program, exit: number, expected: string): string {
  let same = 0;
  while (same < expected.length && stdout[same] === expected[same]) same++;
  const tail = stderr.slice(-300).replaceAll(/\s+/g, ' ');
  return `exit ${exit}; ${same} of ${expected.length} characters as undisturbed, then ${JSON.stringify(stdout.slice(same, same + 40))} in the place of ${JSON.stringify(expected.slice(same, same + 40))}; ${tail}`;
}
