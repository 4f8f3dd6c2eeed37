import { randomUUID } from 'node:crypto';
import { residentMiB } from '../bench/figures.js';
import { waitUntil } from '../features/support/wait.js';
import type { Figures, RunOptions } from './figures.js';
import { QUICK_MODEL } from './model.js';
import { NODE } from './site.js';
import { findFlaw, followTask, type TaskEvent } from './task-client.js';
import { type WithSite, withSite } from './with-site.js';

const CLIENTS = 200;
/** Until the last free slot is known to everybody. */
const FREE_MS = 2_000;

/** Many clients at once for the four slots of one worker: each is served, or told when to come back and served then. */
export function crowd(_options: RunOptions): Promise<Figures> {
  return withSite('crowd', { slots: 4 }, serveCrowd);
}

async function serveCrowd({ site, facts, problems }: WithSite): Promise<void> {
  const body = () => ({
    job_id: `crowd-${randomUUID()}`,
    node: NODE,
    model: QUICK_MODEL,
    prompt: 'tell me of crowds',
    template: 'none',
    temperature: 0,
    max_tokens: 40,
  });
  const alone = await followTask({ queenUrl: site.queenUrl, body: body() });
  const flaw = findFlaw(alone, alone.text);
  if (flaw) throw new Error(`undisturbed: ${flaw}`);
  const [queen = 0] = site.pidsOf('queen-rbee');
  const before = residentMiB(queen);
  const began = performance.now();
  let rises = 0;
  let queued = 0;
  const seen = await Promise.all(
    Array.from({ length: CLIENTS }, (_, index) => {
      let position = Number.POSITIVE_INFINITY;
      const onEvent = (event: TaskEvent) => {
        if (event.type !== 'queued') return;
        queued++;
        if (Number(event.position) > position) rises++;
        position = Number(event.position);
      };
      return followTask({ queenUrl: site.queenUrl, body: body(), from: `127.0.1.${1 + index}`, onEvent });
    }),
  );
  const flaws = seen.flatMap((one) => findFlaw(one, alone.text) ?? []);
  const refusals = seen.reduce((sum, one) => sum + one.refusals, 0);
  Object.assign(facts, {
    clients: CLIENTS,
    served: CLIENTS - flaws.length,
    'told to come back': refusals,
    'queue positions told': queued,
    'positions that rose': rises,
    'all served after': `${((performance.now() - began) / 1000).toFixed(1)} s`,
    'the queen grew by': `${(residentMiB(queen) - before).toFixed(0)} MiB`,
  });
  if (rises > 0) problems.push(`${rises} positions in the queue rose`);
  problems.push(...flaws.slice(0, 10));
  await waitUntil(
    async () => (await site.workers()).every((worker) => worker.slots_available === worker.slots_total),
    () => 'a slot is still taken',
    FREE_MS,
  );
  const workers = await site.workers();
  if (workers.length !== 1) problems.push(`${workers.length} workers served them`);
}
