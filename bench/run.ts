/**
 * How much of the engine's speed is left at each layer: the engine alone, a worker, a worker under a hive, and the whole
 * path through the queen; and what starting and cancelling cost. Prints ratios to the engine alone, measured in turn in one run.
 */
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { cpuMicroseconds, median, residentMiB } from './figures.js';
import { Installation, MODEL, PROJECT } from './installation.js';
import { closeConnections, type Measured, measureStream } from './stream-client.js';

const MESSAGE = 'write a short story';
const RENDERED = `<|im_start|>user\n${MESSAGE}<|im_end|>\n<|im_start|>assistant\n`;
const REPEATS = Number(process.env.BENCH_REPEATS ?? 15);
const ROUNDS = 3;

interface Layer {
  readonly name: string;
  /** Runs so many streams at once and gives the tokens of all and the time they took. */
  run(streams: number): Promise<{ tokens: number; wallMs: number; firstTokenMs: number }>;
}

async function measureAtOnce(streams: number, start: () => Promise<Measured>) {
  const began = performance.now();
  const measured = await Promise.all(Array.from({ length: streams }, start));
  return {
    tokens: measured.reduce((sum, { tokens }) => sum + tokens, 0),
    wallMs: performance.now() - began,
    firstTokenMs: median(measured.map(({ firstTokenMs }) => firstTokenMs)),
  };
}

function engineAlone(streams: number, threads: number): { tokens: number; wallMs: number; firstTokenMs: number }[] {
  const script = join(PROJECT, 'apps/llm-worker/tools/engine-alone.mjs');
  const args = [script, MODEL, RENDERED, '1000', String(threads), String(streams), String(REPEATS)];
  const output = execFileSync(process.execPath, args, {
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
    encoding: 'utf8',
  });
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { tokensOut: number; wallMs: number; firstTokenMs: number })
    .map(({ tokensOut, wallMs, firstTokenMs }) => ({ tokens: tokensOut, wallMs, firstTokenMs }));
}

const installation = await Installation.create();
const { queenPort, hivePort, workerPort } = installation;
try {
  const job = { prompt: MESSAGE, temperature: 0, cache_prompt: false };
  const hive = await installation.start(
    'apps/rbee-hive/bin/rbee-hive.js',
    ['daemon'],
    `http://127.0.0.1:${hivePort}/v1/health`,
  );
  const queen = await installation.start(
    'apps/queen-rbee/bin/queen-rbee.js',
    ['daemon'],
    `http://127.0.0.1:${queenPort}/health`,
  );
  const queenUrl = `http://127.0.0.1:${queenPort}/v2/tasks`;
  const idle = { queen: residentMiB(queen.pid as number), hive: residentMiB(hive.pid as number) };
  await measureStream({ url: queenUrl, body: job });
  const { workers } = (await (await fetch(`http://127.0.0.1:${hivePort}/v1/workers/list`)).json()) as {
    workers: { id: string; url: string; pid: number }[];
  };
  const [managed] = workers;
  if (!managed) throw new Error('the hive has no worker');
  const { api_key } = (await (await fetch(`http://127.0.0.1:${hivePort}/v1/workers/${managed.id}`)).json()) as {
    api_key: string;
  };
  const alonePort = workerPort + 50;
  await installation.start(
    'apps/llm-worker/bin/llm-worker-rbee.js',
    ['--port', String(alonePort), '--callback-url', ''],
    `http://127.0.0.1:${alonePort}/health`,
  );
  const aloneUrl = `http://127.0.0.1:${alonePort}`;
  await untilReady(aloneUrl);
  const { threads = 1 } = (await (await fetch(`${aloneUrl}/health`)).json()) as { threads?: number };

  const proxyPort = workerPort + 51;
  const proxyUrl = `http://127.0.0.1:${proxyPort}`;
  const proxy = await installation.start(
    'bench/bare-proxy.mjs',
    [String(proxyPort), `${managed.url}/v1/inference`, api_key],
    `${proxyUrl}/health`,
  );

  const layers: Layer[] = [
    {
      name: 'worker alone',
      run: (n) => measureAtOnce(n, () => measureStream({ url: `${aloneUrl}/v1/inference`, body: job })),
    },
    {
      name: 'hive + worker',
      run: (n) =>
        measureAtOnce(n, () => measureStream({ url: `${managed.url}/v1/inference`, body: job, key: api_key })),
    },
    { name: 'bare proxy + worker', run: (n) => measureAtOnce(n, () => measureStream({ url: proxyUrl, body: job })) },
    { name: 'queen + hive + worker', run: (n) => measureAtOnce(n, () => measureStream({ url: queenUrl, body: job })) },
  ];

  console.log(
    `# ${new Date().toISOString()}, ${MESSAGE}, ${threads} compute thread(s), median of ${REPEATS * ROUNDS} runs a row\n`,
  );
  console.log(
    '| layer | streams | tokens/s in all | of the engine alone | time to first token | more than the engine alone |',
  );
  console.log('|---|---|---|---|---|---|');
  const relays = new Map([
    ['queen + hive + worker', { pid: queen.pid as number, cpu: 0, tokens: 0 }],
    ['bare proxy + worker', { pid: proxy.pid as number, cpu: 0, tokens: 0 }],
  ]);
  for (const streams of [1, 4]) {
    const speeds = new Map<string, number[]>();
    const firsts = new Map<string, number[]>();
    const note = (name: string, runs: { tokens: number; wallMs: number; firstTokenMs: number }[]) => {
      speeds.set(name, [...(speeds.get(name) ?? []), ...runs.map(({ tokens, wallMs }) => (tokens / wallMs) * 1000)]);
      firsts.set(name, [...(firsts.get(name) ?? []), ...runs.map(({ firstTokenMs }) => firstTokenMs)]);
    };
    for (let round = 0; round < ROUNDS; round++) {
      note('engine alone', engineAlone(streams, threads));
      for (const layer of layers) {
        const relay = relays.get(layer.name);
        const before = relay ? cpuMicroseconds(relay.pid) : 0;
        const runs = [];
        for (let repeat = 0; repeat < REPEATS; repeat++) runs.push(await layer.run(streams));
        if (relay) {
          relay.cpu += cpuMicroseconds(relay.pid) - before;
          relay.tokens += runs.reduce((sum, { tokens }) => sum + tokens, 0);
        }
        note(layer.name, runs);
      }
    }
    const base = median(speeds.get('engine alone') ?? []);
    const baseFirst = median(firsts.get('engine alone') ?? []);
    for (const [name, values] of speeds) {
      const speed = median(values);
      const first = median(firsts.get(name) ?? []);
      console.log(
        `| ${name} | ${streams} | ${speed.toFixed(0)} | ${(speed / base).toFixed(2)} | ${first.toFixed(1)} ms | ${(first - baseFirst).toFixed(1)} ms |`,
      );
    }
  }

  console.log('\n| what | figure | target |');
  console.log('|---|---|---|');
  const row = (what: string, figure: string, target: string) => console.log(`| ${what} | ${figure} | ${target} |`);
  const [queenCost = 0, proxyCost = 0] = [...relays.values()].map(({ cpu, tokens }) => cpu / tokens);
  const cost = `${queenCost.toFixed(1)} µs, ${(queenCost / proxyCost).toFixed(2)} of the bare proxy's ${proxyCost.toFixed(1)} µs`;
  row("the queen's CPU per token", cost, '≤ 30 µs');
  const cancels = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) cancels.push(await measureCancel(queenUrl, managed.url, api_key));
  row(
    'client gone → slot free',
    `${median(cancels).toFixed(1)} ms, at most ${Math.max(...cancels).toFixed(1)} ms`,
    '≤ 100 ms or one batch',
  );
  const warm = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) warm.push(await measureKeeper(installation.variables));
  row('rbee-keeper infer, warm: process start → first token', `${median(warm).toFixed(0)} ms`, '≤ 300 ms');
  row('memory: queen idle', `${idle.queen.toFixed(0)} MiB`, '≤ 90 MiB');
  row('memory: hive idle', `${idle.hive.toFixed(0)} MiB`, '≤ 90 MiB');
  row(
    'memory: worker, with the model of 3 MiB and 12 MiB of KV cache',
    `${residentMiB(managed.pid).toFixed(0)} MiB`,
    '≤ 150 MiB beyond them',
  );
  await installation.end(queen);
  await installation.end(hive);
  const cold = [];
  for (let repeat = 0; repeat < 5; repeat++) cold.push(await measureKeeper(installation.variables));
  row('rbee-keeper infer, nothing running: process start → first token', `${median(cold).toFixed(0)} ms`, '≤ 2,500 ms');
} finally {
  closeConnections();
  await installation.end();
  installation.remove();
}

async function untilReady(url: string): Promise<void> {
  for (;;) {
    const { ready } = (await (await fetch(`${url}/v1/ready`)).json()) as { ready: boolean };
    if (ready) return;
    await new Promise((settle) => setTimeout(settle, 10));
  }
}

/** Leaves a stream after 20 tokens and waits until the worker has all its slots again. */
async function measureCancel(queenUrl: string, workerUrl: string, key: string): Promise<number> {
  await measureStream({ url: queenUrl, body: { prompt: MESSAGE, temperature: 0 }, leaveAfter: 20 });
  const left = performance.now();
  for (;;) {
    const response = await fetch(`${workerUrl}/v1/ready`, { headers: { Authorization: `Bearer ${key}` } });
    const { slots_available, slots_total } = (await response.json()) as {
      slots_available: number;
      slots_total: number;
    };
    if (slots_available === slots_total) return performance.now() - left;
  }
}

/** Runs the keeper and gives the time from its start to the first byte on standard output. */
function measureKeeper(variables: Record<string, string>): Promise<number> {
  return new Promise((settle, fail) => {
    const started = performance.now();
    let firstMs: number | undefined;
    const child = spawn(
      process.execPath,
      [join(PROJECT, 'apps/rbee-keeper/bin/rbee-keeper.js'), 'infer', '--prompt', MESSAGE],
      {
        env: variables,
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    child.stdout.on('data', () => {
      firstMs ??= performance.now() - started;
    });
    child.once('close', (code) => {
      if (code === 0 && firstMs !== undefined) settle(firstMs);
      else fail(new Error(`rbee-keeper infer ended with ${code}`));
    });
  });
}
