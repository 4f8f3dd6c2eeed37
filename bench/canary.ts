/**
 * How soon a worker that has stopped moving is found out and replaced, and whether anything else feels it: one of two workers
 * is halted with SIGSTOP while the health routes of queen, hive and the other worker are asked again and again. The limits are
 * shrunk; what counts is that the replacement comes within their sum and the time that a worker takes to load.
 */
import type { ChildProcess } from 'node:child_process';
import { median, quantile } from './figures.js';
import { Installation } from './installation.js';

/** A hive gives up on a kind of worker of which five were lost within five minutes. */
const MOST_ROUNDS = 4;
const ROUNDS = Math.min(Number(process.env.BENCH_REPEATS ?? MOST_ROUNDS), MOST_ROUNDS);
const CANARY_MS = 2_000;
const ANSWER_MS = 1_000;
/** Between two questions after somebody's health. */
const ASK_EVERY_MS = 10;
const P99_TARGET_MS = 50;
const GIVE_UP_MS = 10 * (CANARY_MS + ANSWER_MS);

interface Worker {
  readonly id: string;
  readonly url: string;
  readonly pid: number;
  readonly state: string;
}

const installation = await Installation.create();
const { queenPort, hivePort, variables } = installation;
const hiveUrl = `http://127.0.0.1:${hivePort}`;
const queenUrl = `http://127.0.0.1:${queenPort}`;
Object.assign(variables, { RBEE_T_CANARY: `${CANARY_MS}ms`, RBEE_T_CANARY_ANSWER: `${ANSWER_MS}ms` });
const halted: number[] = [];

try {
  await start('apps/rbee-hive/bin/rbee-hive.js', `${hiveUrl}/v1/health`);
  await start('apps/queen-rbee/bin/queen-rbee.js', `${queenUrl}/health`);
  await Promise.all([spawnWorker(), spawnWorker()]);
  await untilIdle(() => true);
  const found: number[] = [];
  const replaced: number[] = [];
  const health = { queen: [] as number[], hive: [] as number[], 'the other worker': [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const [victim, other] = await workers();
    if (!victim || !other) throw new Error('the hive lost a worker');
    let isOver = false;
    const asking = Promise.all([
      askHealth(`${queenUrl}/health`, health.queen, () => isOver),
      askHealth(`${hiveUrl}/v1/health`, health.hive, () => isOver),
      askHealth(`${other.url}/health`, health['the other worker'], () => isOver),
    ]);
    const replacing = replace(victim).finally(() => {
      isOver = true;
    });
    await Promise.all([replacing, asking]);
    const times = await replacing;
    found.push(times.foundMs);
    replaced.push(times.replacedMs);
    if (isThere(victim.pid)) throw new Error('the process of the worker that was replaced is still there');
  }
  console.log(`# ${new Date().toISOString()}, ${ROUNDS} rounds, canary ${CANARY_MS} ms, its answer ${ANSWER_MS} ms\n`);
  console.log('| what | figure | target |\n|---|---|---|');
  const figure = (values: readonly number[]) =>
    `${median(values).toFixed(0)} ms, at most ${Math.max(...values).toFixed(0)} ms`;
  console.log(`| a worker is halted → it is found out | ${figure(found)} | ≤ ${CANARY_MS + ANSWER_MS} ms |`);
  console.log(
    `| a worker is halted → its successor is ready | ${figure(replaced)} | the same and the start of a worker |`,
  );
  for (const [who, values] of Object.entries(health)) {
    const [p50, p99] = [0.5, 0.99].map((share) => `${quantile(values, share).toFixed(1)} ms`);
    const longest = `${Math.max(...values).toFixed(1)} ms`;
    console.log(
      `| health of ${who} meanwhile: p50, p99, longest of ${values.length} | ${p50}, ${p99}, ${longest} | p99 < ${P99_TARGET_MS} ms |`,
    );
  }
} finally {
  for (const pid of halted) if (isThere(pid)) process.kill(pid, 'SIGKILL');
  await installation.end();
  installation.remove();
}

/** Halts a worker and waits until another one is ready in its place. */
async function replace(victim: Worker): Promise<{ foundMs: number; replacedMs: number }> {
  halted.push(victim.pid);
  process.kill(victim.pid, 'SIGSTOP');
  const began = performance.now();
  await until((all) => !all.some(({ id, state }) => id === victim.id && state === 'idle'));
  const foundMs = performance.now() - began;
  await untilIdle(({ id }) => id !== victim.id);
  return { foundMs, replacedMs: performance.now() - began };
}

function start(launcher: string, healthUrl: string): Promise<ChildProcess> {
  return installation.start(launcher, ['daemon'], healthUrl);
}

async function spawnWorker(): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ model: 'builtin:honeycomb', backend: 'cpu' });
  const response = await fetch(`${hiveUrl}/v1/workers/spawn`, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(await response.text());
}

async function workers(): Promise<Worker[]> {
  return ((await (await fetch(`${hiveUrl}/v1/workers/list`)).json()) as { workers: Worker[] }).workers;
}

/** Waits until two workers that count are idle. */
function untilIdle(counts: (worker: Worker) => boolean): Promise<void> {
  return until((all) => all.filter((worker) => worker.state === 'idle' && counts(worker)).length >= 2);
}

/** Asks for the list of workers until it is as wanted. */
async function until(isWanted: (all: readonly Worker[]) => boolean): Promise<void> {
  const end = performance.now() + GIVE_UP_MS;
  while (!isWanted(await workers())) {
    if (performance.now() > end) throw new Error(`not replaced within ${GIVE_UP_MS} ms`);
    await new Promise((settle) => setTimeout(settle, 20));
  }
}

/** Asks one health route after the other and notes how long each answer took. */
async function askHealth(url: string, times: number[], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const began = performance.now();
    const response = await fetch(url);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    times.push(performance.now() - began);
    await new Promise((settle) => setTimeout(settle, ASK_EVERY_MS));
  }
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
