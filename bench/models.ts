/**
 * How fast models come, and what a stream of tokens feels of it. Downloads of a model of about 2 GiB in one file and in
 * four parts are measured in turn with `curl | sha256sum` of the same files from the same server; copies between two nodes
 * run beside a stream of tokens. Weights are sparse files at the server, so that its disk is not measured.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { type ModelShape, writeShapedModel, writeShapedParts } from '@rbee/fixtures';
import { SseDecoder } from '@rbee/protocol';
import { findDescendants } from '../features/support/leaks.js';
import { makeKey, SshNode } from '../features/support/ssh-node.js';
import { median, quantile, residentMiB } from './figures.js';
import { freePorts, Installation, PROJECT } from './installation.js';
import { closeConnections, measureStream } from './stream-client.js';

const ROUNDS = Number(process.env.BENCH_REPEATS ?? 5);
const STREAM_MS = 6_000;
/** About 1.05 thousand million weights: 2.1 GB as F16. */
const LARGE: ModelShape = {
  layers: 20,
  embedding: 2048,
  heads: 16,
  kvHeads: 4,
  feedForward: 5632,
  vocabulary: 32_000,
  type: 'F16',
};

const installation = await Installation.create();
const { queenPort, hivePort, home, variables } = installation;
const repos = join(home, 'repos');
for (const name of ['whole', 'parts']) mkdirSync(join(repos, 'acme', name), { recursive: true });
writeShapedModel(join(repos, 'acme/whole/large.F16.gguf'), LARGE);
const parts = writeShapedParts(join(repos, 'acme/parts/large.F16'), 4, LARGE).map((path) => path.split('/').at(-1));
const hub = await startHub();
variables.HF_ENDPOINT = hub.endpoint;

const key = join(home, '.ssh/id_ed25519');
makeKey(key);
const [sshPort = 0, farHivePort = 0, farWorkerPort = 0] = await freePorts(3);
const folder = join(home, 'far');
mkdirSync(folder);
const server = await SshNode.start({
  folder,
  host: '127.0.0.1',
  port: sshPort,
  hivePort: farHivePort,
  workerPort: farWorkerPort,
  variables,
});
server.letIn(`${key}.pub`);
server.linkProject(PROJECT);
const hiveUrl = `http://127.0.0.1:${hivePort}`;
const queenUrl = `http://127.0.0.1:${queenPort}`;

/** The test hub in a process of its own. */
async function startHub(): Promise<{ child: ChildProcess; endpoint: string }> {
  const script = join(PROJECT, 'packages/fixtures/src/hub/serve-hub.ts');
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, repos], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  // What follows is its log of requests.
  child.stdout.resume();
  return { child, endpoint: (JSON.parse(line.toString()) as { endpoint: string }).endpoint };
}

/** Milliseconds that curl and sha256sum need for the files. */
function curl(repo: string, files: readonly (string | undefined)[]): number {
  const began = performance.now();
  for (const file of files) {
    const address = `${hub.endpoint}/acme/${repo}/resolve/main/${file}`;
    execFileSync('sh', ['-c', `curl -sfL ${address} | sha256sum`]);
  }
  return performance.now() - began;
}

/** Events of a stream, each as soon as it comes. */
async function* events(response: Response): AsyncGenerator<Record<string, unknown>> {
  if (!response.ok) throw new Error(await response.text());
  const decoder = new SseDecoder();
  for await (const chunk of response.body ?? []) {
    for (const { data } of decoder.push(chunk as Uint8Array)) {
      if (data !== '[DONE]') yield JSON.parse(data) as Record<string, unknown>;
    }
  }
}

interface Downloaded {
  readonly ms: number;
  /** By how much the hive grew meanwhile. */
  readonly grewMiB: number;
  /** Most memory of the process that fetches. */
  readonly childMiB: number;
}

/** Lets the hive download, and looks at its memory meanwhile. */
async function download(hive: ChildProcess, ref: string): Promise<Downloaded> {
  const pid = hive.pid as number;
  const before = residentMiB(pid);
  let most = before;
  let childMiB = 0;
  const watch = setInterval(() => {
    most = Math.max(most, residentMiB(pid));
  }, 20);
  // Looking for the child is work that the download would feel if it were done as often.
  const watchChild = setInterval(() => {
    for (const child of findDescendants(pid)) childMiB = Math.max(childMiB, residentMiBOrNone(child));
  }, 500);
  try {
    const began = performance.now();
    const body = JSON.stringify({ model_ref: ref });
    const headers = { 'Content-Type': 'application/json' };
    const answer = await fetch(`${hiveUrl}/v1/models/download`, { method: 'POST', headers, body });
    const { progress_url: path } = (await answer.json()) as { progress_url: string };
    for await (const event of events(await fetch(hiveUrl + path))) {
      if (event.stage === 'error') throw new Error(JSON.stringify(event));
      if (event.stage === 'complete') break;
    }
    return { ms: performance.now() - began, grewMiB: most - before, childMiB };
  } finally {
    clearInterval(watch);
    clearInterval(watchChild);
  }
}

function residentMiBOrNone(pid: number): number {
  try {
    return residentMiB(pid);
  } catch {
    // It has ended since it was found.
    return 0;
  }
}

async function remove(url: string, ref: string): Promise<void> {
  const { models } = (await (await fetch(`${url}/v1/models/list`)).json()) as {
    models: { id: string; model_ref: string }[];
  };
  const id = models.find(({ model_ref }) => model_ref === ref)?.id;
  const response = await fetch(`${url}/v1/models/${id}`, { method: 'DELETE' });
  if (!response.ok) throw new Error(await response.text());
}

/** Generates one answer after the other until `isOver` says so; the gaps between tokens in ms. */
async function stream(isOver: () => boolean): Promise<number[]> {
  const gaps: number[] = [];
  const body = { node: 'localhost', prompt: 'write a short story', temperature: 0, cache_prompt: false };
  while (!isOver()) await measureStream({ url: `${queenUrl}/v2/tasks`, body, onGap: (ms) => gaps.push(ms) });
  return gaps;
}

function streamFor(forMs: number): Promise<number[]> {
  const end = performance.now() + forMs;
  return stream(() => performance.now() > end);
}

async function streamBeside(work: Promise<unknown>): Promise<number[]> {
  let isOver = false;
  const watching = work.finally(() => {
    isOver = true;
  });
  const [gaps] = await Promise.all([stream(() => isOver), watching]);
  return gaps;
}

/** Lets the queen bring a model to the far node; megabytes a second and where it came from. */
async function copy(ref: string): Promise<{ ms: number; bytes: number }> {
  const headers = { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  const body = JSON.stringify({ model: ref, node: 'far' });
  for await (const event of events(await fetch(`${queenUrl}/v2/models/pull`, { method: 'POST', headers, body }))) {
    if (event.type === 'error') throw new Error(JSON.stringify(event));
    if (event.type !== 'end') continue;
    if (event.source !== 'node') throw new Error(`it came from ${event.source}`);
    return { ms: event.duration_ms as number, bytes: (event.model as { size_bytes: number }).size_bytes };
  }
  throw new Error('the copy has not ended');
}

try {
  const hive = await installation.start('apps/rbee-hive/bin/rbee-hive.js', ['daemon'], `${hiveUrl}/v1/health`);
  console.log(`# ${new Date().toISOString()}, median of ${ROUNDS} rounds\n`);
  console.log(
    '| model | curl and sha256sum | rbee | rbee against curl (target ≥ 0.9) | the hive grows by (target ≤ 30 MiB) | its child that fetches |',
  );
  console.log('|---|---|---|---|---|---|');
  const bytes = execFileSync('stat', ['-c', '%s', join(repos, 'acme/whole/large.F16.gguf')], { encoding: 'utf8' });
  const speed = (ms: number) => `${(Number(bytes) / 1e3 / ms).toFixed(0)} MB/s`;
  for (const [repo, files] of [['whole', ['large.F16.gguf']] as const, ['parts', parts] as const]) {
    const ref = `hf:acme/${repo}:F16`;
    const figures = { curl: [] as number[], rbee: [] as number[], grew: [] as number[], child: [] as number[] };
    for (let round = 0; round < ROUNDS; round++) {
      const viaCurl = () => figures.curl.push(curl(repo, files));
      if (round % 2 === 0) viaCurl();
      const { ms, grewMiB, childMiB } = await download(hive, ref);
      figures.rbee.push(ms);
      figures.grew.push(grewMiB);
      figures.child.push(childMiB);
      if (round % 2 === 1) viaCurl();
      await remove(hiveUrl, ref);
    }
    const ratio = median(figures.rbee.map((ms, round) => (figures.curl[round] ?? Number.NaN) / ms));
    const row = [speed(median(figures.curl)), speed(median(figures.rbee)), ratio.toFixed(2)];
    const name = files.length === 1 ? 'one file' : `${files.length} parts`;
    const memory = [figures.grew, figures.child].map((values) => `${Math.max(...values).toFixed(0)} MiB at most`);
    console.log(`| ${name} | ${[...row, ...memory].join(' | ')} |`);
  }

  await installation.start('apps/queen-rbee/bin/queen-rbee.js', ['daemon'], `${queenUrl}/health`);
  const added = await fetch(`${queenUrl}/v2/registry/beehives/add`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      node_name: 'far',
      ssh_host: '127.0.0.1',
      ssh_port: sshPort,
      ssh_user: userInfo().username,
      ssh_key_path: key,
      hive_port: farHivePort,
    }),
  });
  if (!added.ok) throw new Error(await added.text());
  const ref = 'hf:acme/whole:F16';
  await download(hive, ref);
  await streamFor(1_000);
  const gaps = { alone: [] as number[], beside: [] as number[] };
  const copies: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    gaps.alone.push(...(await streamFor(STREAM_MS)));
    const copying = copy(ref);
    gaps.beside.push(...(await streamBeside(copying)));
    const copied = await copying;
    copies.push(copied.bytes / 1e3 / copied.ms);
    const { id } = (await modelsOf('far')).find(({ model_ref }) => model_ref === ref) ?? {};
    const removed = await fetch(`${queenUrl}/v2/models/${id}?node=far`, { method: 'DELETE' });
    if (!removed.ok) throw new Error(await removed.text());
  }
  console.log(`\nA copy over SSH on this machine runs at ${median(copies).toFixed(0)} MB/s.\n`);
  console.log('| gaps between tokens | p50 | p99 | longest | tokens |\n|---|---|---|---|---|');
  for (const [what, values] of [['no copy', gaps.alone] as const, ['a copy beside it', gaps.beside] as const]) {
    const row = [quantile(values, 0.5), quantile(values, 0.99), Math.max(...values)].map((ms) => `${ms.toFixed(1)} ms`);
    console.log(`| ${what} | ${row.join(' | ')} | ${values.length} |`);
  }
} finally {
  closeConnections();
  await installation.end();
  await server.stopServer();
  const gone = once(hub.child, 'exit');
  hub.child.stdin?.end();
  await gone;
  installation.remove();
}

async function modelsOf(node: string): Promise<{ id: string; model_ref: string }[]> {
  const answer = await fetch(`${queenUrl}/v2/models?node=${node}`);
  if (!answer.ok) throw new Error(await answer.text());
  return ((await answer.json()) as { models: { id: string; model_ref: string }[] }).models;
}
