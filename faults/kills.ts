import { randomUUID } from 'node:crypto';
import { signalIfThere } from '../features/support/process-signal.js';
import { waitUntil } from '../features/support/wait.js';
import { type Figures, type RunOptions, randomNumbers } from './figures.js';
import { MODEL } from './model.js';
import { pass } from './seconds.js';
import { NODE, type Site } from './site.js';
import { findFlaw, followTask } from './task-client.js';
import { type WithSite, withSite } from './with-site.js';

const CLIENTS = 2;
const PROGRESS_EVERY = 5;
const MOST_PAUSE_MS = 1_200;
const PROMPTS = ['tell me of bees', 'tell me of honey', 'tell me of queens'];

/** Two workers, and clients all the time: workers that generate are killed at random moments, and nobody notices. */
export function kills({ seed, kills: count }: RunOptions): Promise<Figures> {
  return withSite('kills', { slots: 2 }, (about) => killWorkers(about, seed, count));
}

async function killWorkers({ site, facts, problems }: WithSite, seed: number, count: number): Promise<void> {
  const random = randomNumbers(seed);
  const expected = new Map<string, string>();
  for (const prompt of PROMPTS) expected.set(prompt, await undisturbed(site, prompt));
  await spawnUntil(site, 2);
  /** Worker of each client's task that generates now. */
  const generating = new Map<number, string>();
  let isOver = false;
  let tasks = 0;
  let tokens = 0;
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    while (!isOver) {
      const prompt = PROMPTS[Math.floor(random() * PROMPTS.length)] ?? '';
      let worker = '';
      const seen = await followTask({
        queenUrl: site.queenUrl,
        body: taskOf(prompt),
        onEvent: (event) => {
          if (event.type === 'worker') worker = String(event.worker_id);
          else if (event.action === 'task_resumed') worker = String(event.worker_id);
          else if (event.type === 'token') generating.set(client, worker);
        },
      });
      generating.delete(client);
      tasks++;
      tokens += seen.next;
      const flaw = findFlaw(seen, expected.get(prompt) ?? '');
      if (flaw) problems.push(flaw);
      if (seen.returns > 0) problems.push(`a stream broke off ${seen.returns} times`);
    }
  });
  let killed = 0;
  try {
    while (killed < count && problems.length < 10) {
      await pass(random() * MOST_PAUSE_MS);
      const victims = [...new Set(generating.values())];
      const victim = victims[Math.floor(random() * victims.length)];
      const pid = victim && pidOfWorker(site, victim);
      if (!pid || !signalIfThere(pid, 'SIGKILL')) continue;
      killed++;
      if (killed % PROGRESS_EVERY === 0) console.log(`  ${killed} of ${count} killed, ${tasks} tasks have ended`);
      await spawnUntil(site, 2);
    }
  } finally {
    isOver = true;
    await Promise.all(clients);
    const resumed = (await site.tasks()).reduce((sum, task) => sum + task.resumed, 0);
    Object.assign(facts, { kills: killed, tasks, tokens, 'went on elsewhere': resumed });
  }
}

function taskOf(prompt: string) {
  const fixed = { node: NODE, model: MODEL, template: 'none', temperature: 0, max_tokens: 250 };
  return { job_id: `kills-${randomUUID()}`, prompt, ...fixed };
}

async function undisturbed(site: Site, prompt: string): Promise<string> {
  const seen = await followTask({ queenUrl: site.queenUrl, body: taskOf(prompt) });
  const flaw = findFlaw(seen, seen.text);
  if (flaw) throw new Error(`undisturbed: ${flaw}`);
  return seen.text;
}

/** The pid of a worker, from its command line. */
function pidOfWorker(site: Site, workerId: string): number | undefined {
  return site.processes().find(({ command }) => command.includes(`--worker-id ${workerId} `))?.pid;
}

/** Starts workers of the model until so many of them serve. */
async function spawnUntil(site: Site, count: number): Promise<void> {
  await waitUntil(
    async () => {
      const alive = (await site.workers()).filter(({ worker_id }) => pidOfWorker(site, worker_id) !== undefined);
      if (alive.filter(({ state }) => /^(idle|busy)$/.test(state)).length >= count) return true;
      if (alive.length < count) await site.post('/v2/workers/spawn', { model: MODEL, node: NODE, backend: 'cpu' });
      return false;
    },
    () => `there are not ${count} workers`,
    30_000,
  );
}
