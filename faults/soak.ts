/**
 * Random work and random faults for some minutes on real processes. Every answer is checked token by token; once a minute the
 * work rests, and what the daemons hold is compared with the beginning. Prints what was lost, duplicated and leaked, and exits
 * with 1 unless all three are 0. `--minutes N`, `--seed N`, `--clients N`.
 */
import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { waitUntil } from '../features/support/wait.js';
import { randomNumbers } from './figures.js';
import { startHub } from './model.js';
import { pass } from './seconds.js';
import { endOnSignal, Site } from './site.js';
import { wreak } from './soak-chaos.js';
import { findLeaks, type Held, measure } from './soak-measure.js';
import { SoakTexts } from './soak-texts.js';
import { type Tally, work } from './soak-work.js';

endOnSignal();

const SETTLE_MS = 5_000;
/** How long a task waits for its client after its queen was killed, and how long its end may take then. */
const RETURN_MS = 10_000;
const FREE_MS = 10_000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    clients: { type: 'string', default: '4' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
const tally: Tally = { tasks: {}, tokens: 0, returns: 0, lost: [], duplicated: [] };
const chaos: Record<string, number> = {};
const leaked: string[] = [];

const variables = { RBEE_T_CLIENT_RETURNS: `${RETURN_MS}ms` };
const { hub, folder } = await startHub();
const site = await Site.open({ way: 'ssh', hubEndpoint: hub.endpoint, slots: 2, variables });
try {
  await site.startQueen({ persistent: true });
  await site.addNode();
  const texts = await SoakTexts.learn(site);
  await pass(SETTLE_MS);
  const first = measure(site);
  console.log(`seed ${seed}; at first ${describe(first)}`);
  const end = performance.now() + minutes * 60_000;
  for (let minute = 1; performance.now() < end; minute++) {
    await workFor(Math.min(60_000, end - performance.now()), texts, minute);
    const taken = await untilFree();
    await pass(SETTLE_MS);
    const now = measure(site);
    const leaks = [...taken, ...findLeaks(first, now, site)];
    leaked.push(...leaks.map((leak) => `minute ${minute}: ${leak}`));
    console.log(`minute ${minute}: ${count(tally.tasks)} tasks, ${tally.tokens} tokens, ${describe(now)}`);
    for (const trouble of [...tally.lost, ...tally.duplicated, ...leaks])
      console.log(`  ${trouble.replaceAll(/\s+/g, ' ')}`);
  }
} catch (error) {
  leaked.push(`the soak itself failed: ${(error as Error).stack}`);
} finally {
  leaked.push(...(await site.close()));
  site.remove();
  await hub.close();
  rmSync(folder, { recursive: true, force: true });
}
console.log(`tasks ${JSON.stringify(tally.tasks)}, faults ${JSON.stringify(chaos)}, returns ${tally.returns}`);
for (const leak of leaked) console.log(`leaked: ${leak}`);
console.log(`lost ${tally.lost.length}, duplicated ${tally.duplicated.length}, leaked ${leaked.length}`);
if (tally.lost.length + tally.duplicated.length + leaked.length > 0) process.exitCode = 1;

/** Work and faults for a while; resolves when the last task has ended. */
async function workFor(ms: number, texts: SoakTexts, minute: number): Promise<void> {
  let isOver = false;
  const over = () => isOver;
  const actors = Array.from({ length: Number(values.clients) }, (_, client) =>
    work(site, texts, tally, randomNumbers(seed * 1_000 + minute * 50 + client), over),
  );
  actors.push(wreak(site, randomNumbers(seed * 1_000 + minute * 50 + 49), over, chaos));
  await Promise.race([pass(ms), Promise.all(actors)]);
  isOver = true;
  await Promise.all(actors);
}

/** Tells of slots that stay taken for longer than tasks may that a killed queen left behind without a client. */
async function untilFree(): Promise<string[]> {
  const free = async () => (await site.workers()).every((worker) => worker.slots_available === worker.slots_total);
  return await waitUntil(free, () => 'a slot is still taken', RETURN_MS + FREE_MS).then(
    () => [],
    (error: Error) => [error.message],
  );
}

function count(figures: Readonly<Record<string, number>>): number {
  return Object.values(figures).reduce((sum, value) => sum + value, 0);
}

function describe({ processes, descriptors, residentMiB }: Held): string {
  return `${processes} processes, descriptors ${JSON.stringify(descriptors)}, MiB ${JSON.stringify(residentMiB)}`;
}
