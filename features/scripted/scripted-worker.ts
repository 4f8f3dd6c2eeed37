/**
 * A worker process without an engine: it speaks the worker protocol and does what its script says, for what a real
 * engine cannot do on demand. Only the suite's own hive (scripted-hive.ts) can start it.
 */
import { parseArgs } from 'node:util';
import {
  callJson,
  httpTransport,
  listen,
  Reply,
  readSecretFile,
  serve,
  silentLogger,
  sleep,
  systemClock,
} from '@rbee/daemon-kit';
import { hiveRoutes, type InferenceRequest, RbeeError, type ReadyCallback, workerRoutes } from '@rbee/protocol';

export interface Script {
  /** Layers of the model. Default 32. */
  layers?: number;
  /** Loading stops at this layer until SIGUSR2 comes. */
  pauseAtLayer?: number;
  /** Device memory that loading reports in the end, in MB. */
  vramMb?: number;
  /** Words that each job generates. Default: one, two, … twenty. */
  words?: string[];
  /** One word of so many characters, so many times, in place of `words`. */
  sameWord?: { count: number; chars: number };
  /** Milliseconds before each word. Default: none. */
  trickleMs?: number;
  /** Each job stops after this many words until SIGUSR2 comes. */
  pauseAtWord?: number;
  /** The process kills itself after this many words. */
  crashAtWord?: number;
  /** The process ends with this message before it binds its port. */
  failAtStart?: string;
  /** The process never binds its port. */
  silent?: boolean;
  /** Neither a shutdown request nor SIGTERM has an effect. */
  stubborn?: boolean;
}

const { values } = parseArgs({
  options: {
    script: { type: 'string', default: '{}' },
    'worker-id': { type: 'string', default: 'worker-scripted' },
    model: { type: 'string', default: '' },
    'model-ref': { type: 'string', default: '' },
    backend: { type: 'string', default: 'cpu' },
    device: { type: 'string', default: '0' },
    port: { type: 'string', default: '8001' },
    host: { type: 'string', default: '127.0.0.1' },
    'callback-url': { type: 'string', default: '' },
    'api-key-file': { type: 'string' },
    slots: { type: 'string', default: '4' },
    ctx: { type: 'string' },
  },
});

const script = JSON.parse(values.script) as Script;
if (script.failAtStart) {
  console.error(script.failAtStart);
  process.exit(1);
}

process.on('SIGTERM', () => {
  if (script.stubborn) console.error('SIGTERM is ignored');
  else process.exit(0);
});
if (script.silent) await new Promise(() => setInterval(() => undefined, 60_000));

const clock = systemClock;
const key = values['api-key-file'] ? readSecretFile(values['api-key-file']) : undefined;
const slotsTotal = Number(values.slots);
const layersTotal = script.layers ?? 32;
const { sameWord } = script;
const words =
  script.words ??
  (sameWord && Array<string>(sameWord.count).fill('x'.repeat(sameWord.chars))) ??
  'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty'
    .split(' ')
    .map((word, index) => (index === 0 ? word : ` ${word}`));

let layersLoaded = 0;
let loaded = false;
let lastJobEndedAt: string | undefined;
const jobs = new Map<string, AbortController>();
let waiters: (() => void)[] = [];
process.on('SIGUSR2', () => {
  const woken = waiters;
  waiters = [];
  for (const wake of woken) wake();
});
let progressChanged = () => {};
let progress = new Promise<void>((resolve) => {
  progressChanged = resolve;
});

/** Stands still until SIGUSR2 comes or the signal is aborted. */
function pause(signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    waiters.push(resolve);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function announceProgress(): void {
  progressChanged();
  progress = new Promise((resolve) => {
    progressChanged = resolve;
  });
}

function loadingEvent() {
  const vram_mb = Math.round(((script.vramMb ?? 0) * layersLoaded) / layersTotal);
  return { stage: 'loading_to_vram' as const, layers_loaded: layersLoaded, layers_total: layersTotal, vram_mb };
}

async function generate(
  request: InferenceRequest,
  jobId: string,
  send: (event: unknown) => Promise<void> | undefined,
  signal: AbortSignal,
) {
  const started = clock.monotonic();
  await send({
    type: 'started',
    job_id: jobId,
    model: values['model-ref'],
    started_at: new Date(clock.now()).toISOString(),
  });
  const count = Math.min(words.length, request.max_tokens ?? words.length);
  for (let i = 0; i < count; i++) {
    if (script.pauseAtWord === i) await pause(signal);
    if (script.crashAtWord === i) {
      // The words before are on their way by then.
      await new Promise((resolve) => setImmediate(resolve));
      process.kill(process.pid, 'SIGKILL');
    }
    if (script.trickleMs) await sleep(clock, script.trickleMs, signal);
    signal.throwIfAborted();
    await send({ type: 'token', t: words[i] ?? '', i, ids: [i] });
  }
  return {
    tokens_out: count,
    decode_time_ms: clock.monotonic() - started,
    stop_reason: count < words.length ? ('MAX_TOKENS' as const) : ('EOS' as const),
    prompt_tokens: 4,
    cached_tokens: 0,
  };
}

const app = serve(
  workerRoutes,
  {
    health: async () => ({ status: 'healthy' as const, vram_bytes: 0, uptime_seconds: process.uptime() }),
    ready: async () => ({
      ready: loaded,
      state: loaded ? (jobs.size >= slotsTotal ? ('busy' as const) : ('idle' as const)) : ('loading' as const),
      model_loaded: loaded || undefined,
      progress_url: loaded ? undefined : `${url}/v1/loading/progress`,
      slots_total: slotsTotal,
      slots_available: loaded ? slotsTotal - jobs.size : 0,
      last_job_ended_at: lastJobEndedAt,
      error: undefined,
    }),
    loadingProgress: async (call, stream) => {
      while (!loaded) {
        call.signal.throwIfAborted();
        stream.send(loadingEvent());
        await progress;
      }
      stream.send(loadingEvent());
      stream.send({ stage: 'ready' });
    },
    infer: async (call, stream) => {
      if (!loaded) throw new RbeeError('WORKER_NOT_READY', 'the model is still loading');
      const jobId = call.body.job_id ?? 'job-scripted';
      if (jobs.size >= slotsTotal) {
        throw new RbeeError('ALL_SLOTS_BUSY', `all ${slotsTotal} slots are busy`, {
          details: { slots_total: slotsTotal, slots_busy: jobs.size },
        });
      }
      const abort = new AbortController();
      jobs.set(jobId, abort);
      call.signal.addEventListener('abort', () => abort.abort(call.signal.reason), { once: true });
      heartbeat();
      try {
        stream.open({ 'X-Request-Id': jobId });
        const send = (event: unknown) => (stream.send(event as never) ? undefined : stream.drained(abort.signal));
        const figures = await generate(call.body, jobId, send, abort.signal);
        stream.send({
          type: 'end',
          stop_sequence_matched: undefined,
          prompt_ms: undefined,
          decode_ms: undefined,
          ...figures,
        });
      } finally {
        jobs.delete(jobId);
        lastJobEndedAt = new Date(clock.now()).toISOString();
        heartbeat();
      }
    },
    cancel: async (call) => {
      jobs.get(call.params.request_id)?.abort(new RbeeError('CANCELLED', 'the job was cancelled'));
    },
    canary: async () => ({ outcome: 'passed' as const, ms: 1 }),
    shutdown: async (call) => {
      if (script.stubborn) await sleep(clock, Number.POSITIVE_INFINITY, call.signal);
      if (call.body.only_if_idle_ms !== undefined && jobs.size > 0) {
        return new Reply({ message: 'in use', draining: false }, 200);
      }
      setImmediate(() => process.exit(0));
      return { message: 'shutting down', draining: true };
    },
  },
  { clock, log: silentLogger, key },
);

const { url } = await listen('llm-worker-rbee', app, { host: values.host, port: Number(values.port) });

const hive = values['callback-url']
  ? { transport: httpTransport({ name: 'rbee-hive', url: values['callback-url'] }), clock, key }
  : undefined;

async function callBack(state: 'loading' | 'idle'): Promise<void> {
  if (!hive) return;
  const body: ReadyCallback = {
    worker_id: values['worker-id'],
    url,
    model_ref: values['model-ref'],
    backend: values.backend as ReadyCallback['backend'],
    device: Number(values.device),
    state,
    vram_bytes: (script.vramMb ?? 0) * 2 ** 20,
    slots_total: slotsTotal,
    slots_available: state === 'idle' ? slotsTotal : 0,
    pid: process.pid,
    error: undefined,
  };
  await callJson(hive, hiveRoutes.workerReady, {
    body: state === 'loading' ? { ...body, slots_total: undefined } : body,
  });
}

function heartbeat(): void {
  if (!hive) return;
  callJson(hive, hiveRoutes.heartbeat, {
    body: {
      worker_id: values['worker-id'],
      timestamp: new Date(clock.now()).toISOString(),
      health_status: 'healthy',
      state: jobs.size >= slotsTotal ? 'busy' : 'idle',
      slots_available: slotsTotal - jobs.size,
      jobs_active: jobs.size,
      last_job_ended_at: lastJobEndedAt,
    },
  }).catch((error: Error) => console.error(`heartbeat failed: ${error.message}`));
}

await callBack('loading');
for (layersLoaded = 1; layersLoaded <= layersTotal; layersLoaded++) {
  announceProgress();
  if (layersLoaded === script.pauseAtLayer) await pause();
}
layersLoaded = layersTotal;
loaded = true;
announceProgress();
await callBack('idle');
