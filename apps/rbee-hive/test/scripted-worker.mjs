// biome-ignore-all lint/nursery/noProcessExit: this program ends in whatever way a test asks for
// biome-ignore-all lint/nursery/noJsRestrictedProperties: it is a process of its own, without an injected clock
// biome-ignore-all lint/style/noRestrictedGlobals: the same
/**
 * A worker process without an engine, in plain Node: it speaks the routes that a hive uses and misbehaves as told.
 * Script (JSON after --script): startError, silent, layers, stuckAtLayer, loadError, exitAtLayer, ignoreSigterm,
 * ignoreShutdown, slots, canary. While it runs, `POST /test` takes {jobs}, with {unheard} without telling the hive,
 * {health: 'bad' | 'hang' | 'good'}, {canary: 'hang' | 'fail' | 'good'}, {stepMs}, {heir: true} for a process that holds its port
 * and is told in the answer, or {exit: code}.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const option = (name) => process.argv[process.argv.indexOf(`--${name}`) + 1];
const script = JSON.parse(option('script'));
const workerId = option('worker-id');
const key = readFileSync(option('api-key-file'), 'utf8').trim();
const layers = script.layers ?? 4;
const slots = Number(process.argv.includes('--slots') ? option('slots') : (script.slots ?? 2));

const narrate = (action, human) => {
  const event = { type: 'narration', actor: 'llm-worker-rbee', action, target: workerId, human };
  process.stdout.write(`${JSON.stringify(event)}\n`);
};

if (script.startError) {
  process.stderr.write(
    `${JSON.stringify({ level: 'error', msg: script.startError, file: '/home/someone/secret/path' })}\n`,
  );
  process.exit(1);
}
process.on('SIGTERM', () => {
  if (script.ignoreSigterm) process.stderr.write('SIGTERM ignored\n');
  else process.exit(0);
});

let state = 'loading';
let loaded = 0;
let jobs = 0;
let health = 'good';
let canary = script.canary ?? 'good';
let stepMs;
let lastJobEndedAt;
const followers = new Set();
const send = (response, event) => response.write(`data: ${JSON.stringify(event)}\n\n`);
const tell = (event) => {
  for (const response of followers) send(response, event);
};
const json = (response, body, status = 200) => {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
};
const ready = () => ({
  ready: state === 'idle' || state === 'busy',
  state,
  slots_total: slots,
  slots_available: state === 'loading' ? 0 : slots - jobs,
  last_job_ended_at: lastJobEndedAt,
});

async function callHive(path, body) {
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` };
  try {
    const response = await fetch(option('callback-url') + path, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    await response.text();
  } catch (error) {
    // Its hive may have been killed; a worker goes on.
    process.stderr.write(`the hive was not reached: ${error.message}\n`);
  }
}

const callBack = (more) => {
  const [backend, device] = [option('backend'), Number(option('device'))];
  const url = `http://127.0.0.1:${option('port')}`;
  const body = { worker_id: workerId, url, model_ref: option('model-ref'), backend, device, pid: process.pid, ...more };
  return callHive('/v1/workers/ready', body);
};

const heartbeat = () => {
  const beat = { worker_id: workerId, timestamp: new Date().toISOString(), health_status: 'healthy', state };
  return callHive('/v1/heartbeat', {
    ...beat,
    slots_available: slots - jobs,
    jobs_active: jobs,
    last_job_ended_at: lastJobEndedAt,
  });
};

const routes = {
  'GET /health': (_body, response) => {
    if (health === 'hang') return;
    json(response, {
      status: health === 'good' ? 'healthy' : 'unhealthy',
      vram_bytes: 0,
      uptime_seconds: 1,
      step_ms: stepMs,
    });
  },
  'GET /v1/ready': (_body, response) => json(response, ready()),
  'POST /v1/admin/canary': (_body, response) => {
    if (canary === 'hang') return;
    if (canary === 'fail') return json(response, { error: { code: 'INFERENCE_FAILED', message: 'no logits' } }, 500);
    json(response, { outcome: jobs < slots ? 'passed' : 'busy', ms: 1 });
  },
  'GET /v1/loading/progress': (_body, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (let layer = 1; layer <= loaded; layer++) {
      send(response, { stage: 'loading_to_vram', layers_loaded: layer, layers_total: layers, vram_mb: 0 });
    }
    if (state === 'loading') followers.add(response);
    else response.end(`data: {"stage":"ready"}\n\ndata: [DONE]\n\n`);
  },
  'POST /v1/admin/shutdown': (body, response) => {
    if (script.ignoreShutdown) return narrate('shutdown_ignored', 'does not answer');
    const idleMs = lastJobEndedAt ? Date.now() - Date.parse(lastJobEndedAt) : Number.POSITIVE_INFINITY;
    const refused = body.only_if_idle_ms !== undefined && (jobs > 0 || idleMs < body.only_if_idle_ms);
    if (refused) return json(response, { message: 'in use', draining: false });
    state = 'draining';
    narrate('shutdown', 'shutting down');
    response.on('finish', () => process.exit(0));
    json(response, { message: 'shutting down', draining: true }, 202);
  },
  'POST /test': async (body, response) => {
    if (body.health) health = body.health;
    if (body.canary) canary = body.canary;
    if ('stepMs' in body) stepMs = body.stepMs ?? undefined;
    if (body.jobs !== undefined) {
      if (body.jobs < jobs) lastJobEndedAt = new Date().toISOString();
      jobs = body.jobs;
      state = jobs >= slots ? 'busy' : 'idle';
      if (!body.unheard) await heartbeat();
    }
    json(response, { heir: body.heir && leavePort() });
    if (body.exit !== undefined) setImmediate(() => process.exit(body.exit));
  },
};

/** A process that outlives this one and holds its port, as a child of a crashed program may; tells its pid. */
function leavePort() {
  const stdio = ['ignore', 'ignore', 'ignore', server._handle.fd];
  return spawn('sleep', ['30'], { stdio, detached: true }).pid;
}

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const open = request.url === '/health' || request.url === '/test';
    if (!open && request.headers.authorization !== `Bearer ${key}`) {
      return json(response, { error: { code: 'UNAUTHORIZED', message: 'another key' } }, 401);
    }
    const route = routes[`${request.method} ${request.url}`];
    if (!route) return json(response, { error: { code: 'NOT_FOUND', message: 'no such route' } }, 404);
    const text = Buffer.concat(chunks).toString();
    return route(text ? JSON.parse(text) : {}, response);
  });
});

narrate('startup', `worker ${workerId} starts`);
if (script.silent) {
  setInterval(() => undefined, 60_000);
} else {
  await new Promise((resolve) => server.listen(Number(option('port')), option('host'), resolve));
  await callBack({ state: 'loading' });
  await load();
}

async function load() {
  for (loaded = 1; loaded <= layers; loaded++) {
    tell({ stage: 'loading_to_vram', layers_loaded: loaded, layers_total: layers, vram_mb: 0 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (loaded === script.stuckAtLayer) return;
    if (loaded === script.exitAtLayer) process.exit(3);
  }
  loaded = layers;
  if (script.loadError) {
    state = 'error';
    await callBack({ state: 'failed', error: script.loadError });
    process.exit(1);
  }
  state = 'idle';
  for (const response of followers) response.end(`data: {"stage":"ready"}\n\ndata: [DONE]\n\n`);
  await callBack({ state: 'idle', slots_total: slots, slots_available: slots, memory: script.memory });
}
