import { randomUUID } from 'node:crypto';
import { residentMiB } from '../bench/figures.js';
import { waitUntil } from '../features/support/wait.js';
import type { Figures, RunOptions } from './figures.js';
import { heldMiB, TELLS_MEMORY } from './held-memory.js';
import { QUICK_MODEL } from './model.js';
import { seconds } from './seconds.js';
import { NODE, type Site } from './site.js';
import { findFlaw, followTask, type TaskEvent } from './task-client.js';
import { type WithSite, withSite } from './with-site.js';

const CLIENTS = 200;
const ROUNDS = 3;
/** Not enough for all of them: the others are told when to come back. */
const QUEUE_LENGTH = 64;
/** By this share may what the queen holds in the end differ from the beginning. */
const MEMORY_TOLERANCE = 0.1;
/** Until the last free slot is known to everybody. */
const FREE_MS = 2_000;

/** Many clients at once for the four slots of one worker: each is served, or told when to come back and served then. */
export function crowd(_options: RunOptions): Promise<Figures> {
  const variables = { RBEE_QUEUE_LENGTH: String(QUEUE_LENGTH) };
  return withSite('crowd', { slots: 4, variables, queenNodeArgs: TELLS_MEMORY }, serveCrowd);
}

interface Round {
  readonly flaws: readonly string[];
  readonly refusals: number;
  readonly queued: number;
  readonly rises: number;
  readonly durationMs: number;
}

async function serveCrowd({ site, facts, problems }: WithSite): Promise<void> {
  const alone = await followTask({ queenUrl: site.queenUrl, body: taskBody() });
  const flaw = findFlaw(alone, alone.text);
  if (flaw) throw new Error(`undisturbed: ${flaw}`);
  const [queen = 0] = site.pidsOf('queen-rbee');
  const held = [await heldMiB(site, queen)];
  const resident = [residentMiB(queen)];
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push(await serveOnce(site, alone.text));
    held.push(await heldMiB(site, queen));
    resident.push(residentMiB(queen));
  }
  const sum = (count: (round: Round) => number) => rounds.reduce((total, round) => total + count(round), 0);
  const rises = sum((round) => round.rises);
  const refusals = sum((round) => round.refusals);
  const flaws = rounds.flatMap((round) => round.flaws);
  const workers = await site.workers();
  if (rises > 0) problems.push(`${rises} positions in the queue rose`);
  if (refusals === 0) problems.push('nobody was told to come back');
  if (workers.length !== 1) problems.push(`${workers.length} workers served them`);
  problems.push(...flaws.slice(0, 10));
  if (!isLike(held.at(-1), held[0])) problems.push('the queen holds on to memory');
  // The first crowd lets the heap of the queen grow to its working size.
  if (!isLike(resident.at(-1), resident[1])) problems.push('the queen grows with each crowd');
  const list = (values: readonly number[]) => `${values.map((value) => value.toFixed(1)).join(' / ')} MiB`;
  Object.assign(facts, {
    clients: `${ROUNDS} x ${CLIENTS}`,
    served: ROUNDS * CLIENTS - flaws.length,
    'told to come back': refusals,
    'queue positions told': sum((round) => round.queued),
    'positions that rose': rises,
    'all served after': rounds.map((round) => seconds(round.durationMs)).join(' / '),
    'the queen held at first and after each': list(held),
    'was resident with': list(resident),
  });
}

/** All clients at once, each from an address of its own, until everybody has been served. */
async function serveOnce(site: Site, expected: string): Promise<Round> {
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
      return followTask({ queenUrl: site.queenUrl, body: taskBody(), from: `127.0.1.${1 + index}`, onEvent });
    }),
  );
  const durationMs = performance.now() - began;
  await waitUntil(
    async () => (await site.workers()).every((worker) => worker.slots_available === worker.slots_total),
    () => 'a slot is still taken',
    FREE_MS,
  );
  const refusals = seen.reduce((total, one) => total + one.refusals, 0);
  return { flaws: seen.flatMap((one) => findFlaw(one, expected) ?? []), refusals, queued, rises, durationMs };
}

function taskBody() {
  return {
    job_id: `crowd-${randomUUID()}`,
    node: NODE,
    model: QUICK_MODEL,
    prompt: 'tell me of crowds',
    template: 'none',
    temperature: 0,
    max_tokens: 40,
  };
}

function isLike(value = Number.NaN, reference = Number.NaN): boolean {
  return Math.abs(value / reference - 1) <= MEMORY_TOLERANCE;
}
