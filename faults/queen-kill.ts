import { randomUUID } from 'node:crypto';
import { signalIfThere } from '../features/support/process-signal.js';
import type { Figures, RunOptions } from './figures.js';
import { QUICK_MODEL } from './model.js';
import { within } from './seconds.js';
import { NODE } from './site.js';
import { findFlaw, followTask } from './task-client.js';
import { type WithSite, withSite } from './with-site.js';

const IN_FLIGHT = 20;
const QUEUED = 20;
const READY_MS = 30_000;

/** A queen is killed while some tasks generate and as many wait, and started again: all of them end as they should. */
export function queenKill(_options: RunOptions): Promise<Figures> {
  return withSite('queen-kill', { slots: IN_FLIGHT }, killQueen);
}

async function killQueen({ site, facts, problems }: WithSite): Promise<void> {
  const body = () => ({
    job_id: `queen-kill-${randomUUID()}`,
    node: NODE,
    model: QUICK_MODEL,
    prompt: 'tell me of queens',
    template: 'none',
    temperature: 0,
    max_tokens: 400,
  });
  const alone = await followTask({ queenUrl: site.queenUrl, body: body() });
  const flaw = findFlaw(alone, alone.text);
  if (flaw) throw new Error(`undisturbed: ${flaw}`);

  let generating = 0;
  let waiting = 0;
  let ready: () => void = () => undefined;
  const everyoneThere = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const clients = Array.from({ length: IN_FLIGHT + QUEUED }, (_, index) => {
    let hasToken = false;
    let isQueued = false;
    return followTask({
      queenUrl: site.queenUrl,
      body: body(),
      from: `127.0.0.${10 + index}`,
      onEvent: ({ type }) => {
        if (type === 'token' && !hasToken) {
          hasToken = true;
          generating++;
          if (isQueued) waiting--;
        } else if (type === 'queued' && !isQueued && !hasToken) {
          isQueued = true;
          waiting++;
        }
        if (generating >= IN_FLIGHT && waiting >= QUEUED) ready();
      },
    });
  });
  // Everything ends before that when the queue does not work at all.
  const all = Promise.all(clients);
  await within(READY_MS, Promise.race([everyoneThere, all]), () => `${generating} generate and ${waiting} wait`);
  Object.assign(facts, { generating, waiting });
  if (generating < IN_FLIGHT || waiting < QUEUED) problems.push('there were never as many at once as there had to be');
  for (const pid of site.pidsOf('queen-rbee')) signalIfThere(pid, 'SIGKILL');
  const killedAt = performance.now();
  await site.startQueen();
  facts['queen again after'] = `${Math.round(performance.now() - killedAt)} ms`;
  const seen = await all;
  const flaws = seen.flatMap((one) => findFlaw(one, alone.text) ?? []);
  facts['ended as they should'] = seen.length - flaws.length;
  facts.returns = seen.reduce((sum, { returns }) => sum + returns, 0);
  facts['all done after'] = `${((performance.now() - killedAt) / 1000).toFixed(1)} s`;
  problems.push(...flaws.slice(0, 10));
  const tasks = await site.tasks();
  facts.recovered = tasks.filter(({ recovered }) => recovered).length;
}
