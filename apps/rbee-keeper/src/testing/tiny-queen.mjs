/**
 * A queen of a hundred lines for tests of how queens are started and ended: health and leases. Flags as the real one;
 * TINY_QUEEN says how it misbehaves: `crash` ends at once with a message, `mute` never listens, `linger` needs SIGKILL,
 * `refuse-first-lease` ends instead of giving its first lease, `die-in-answer` has a task that every queen knows, and kills the
 * first one after three of its events. Every start appends a line to TINY_QUEEN_STARTS.
 */
import { appendFileSync, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { argv, env, exit, pid } from 'node:process';
import { setInterval, setTimeout } from 'node:timers';

const { TINY_QUEEN: mood = '', TINY_QUEEN_STARTS: starts = '', TINY_QUEEN_VERSION: version = '0.1.0' } = env;
const args = argv.slice(2);
const port = Number(args[args.indexOf('--port') + 1]);
const ephemeral = args.includes('--ephemeral');
const leases = new Map();
const isFirst = starts !== '' && !existsSync(starts);

if (starts) appendFileSync(starts, `${pid} ${args.join(' ')}\n`);
if (mood === 'crash') {
  console.error('the database is broken');
  exit(3);
}

function end() {
  if (mood === 'linger') return;
  // A real queen takes a moment to end what it started.
  setTimeout(() => exit(0), 150);
}

function json(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

const server = createServer((request, response) => {
  if (request.url === '/health') return json(response, 200, { status: 'ok', version, pid });
  if (request.method === 'POST' && request.url === '/v2/leases') {
    if (mood === 'refuse-first-lease' && isFirst) {
      const error = { code: 'WORKER_DRAINING', message: 'the queen is ending', retryable: true };
      json(response, 503, { error });
      return end();
    }
    const id = `lease-${leases.size}`;
    leases.set(id, response);
    const event = { type: 'leased', lease_id: id, version, pid, ephemeral };
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(`event: leased\ndata: ${JSON.stringify(event)}\n\n`);
    return response.on('close', () => release(id));
  }
  if (mood === 'die-in-answer' && request.url?.startsWith('/v2/tasks')) {
    request.resume();
    return answer(response, request.headers['last-event-id']);
  }
  if (request.method === 'DELETE') {
    const ending = release(request.url.split('/').at(-1));
    return json(response, 200, { ending });
  }
  if (request.url?.startsWith('/v2/workers/list')) return json(response, 200, { workers: [] });
  if (request.url?.startsWith('/v2/hives/list')) return json(response, 200, { hives: [] });
  json(response, 404, { error: { code: 'NOT_FOUND', message: 'no such route' } });
});

const TEXTS = ['Once', ' upon', ' a', ' time', '.'];
const EVENTS = [
  { type: 'accepted', job_id: 'job', correlation_id: 'c', model: 'm' },
  ...TEXTS.map((t, i) => ({ type: 'token', t, i })),
  { type: 'end', tokens_out: TEXTS.length, decode_time_ms: 10, stop_reason: 'EOS' },
];

function answer(response, lastEventId) {
  const from = Number(lastEventId?.split('-')[1] ?? 0);
  const dies = isFirst;
  const frames = EVENTS.slice(from, dies ? 3 : undefined).map((event, index) => {
    return `id: 1-${from + index + 1}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  });
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  if (dies) response.write(frames.join(''), () => setTimeout(() => process.kill(pid, 'SIGKILL'), 20));
  else response.end(`${frames.join('')}data: [DONE]\n\n`);
}

function release(id) {
  if (!leases.delete(id)) return ephemeral && leases.size === 0;
  const ending = ephemeral && leases.size === 0;
  if (ending) end();
  return ending;
}

server.on('error', (error) => {
  console.error(`queen-rbee cannot listen: port ${port} is in use by another process (${error.code})`);
  exit(1);
});
process.on('SIGTERM', end);
if (mood === 'mute') setInterval(() => undefined, 1000);
else server.listen(port, '127.0.0.1');
