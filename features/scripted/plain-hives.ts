/**
 * Hives without workers of their own, for what a real one never does: another version, broken answers, dozens on one
 * machine. Each answers its health, worker list, and event stream. Usage: plain-hives.ts BEHAVIOUR PORT...; where
 * PORT is 0 the system chooses. Writes one line with the ports when all of them listen.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface HiveBehaviour {
  /** Default 0.1.0. */
  version?: string;
  /** Text of every answer, in place of the right one. */
  text?: string;
}

const KEEP_ALIVE_MS = 1_000;

const [behaviourText = '{}', ...ports] = process.argv.slice(2);
const { version = '0.1.0', text } = JSON.parse(behaviourText) as HiveBehaviour;

function snapshot(port: number) {
  const worker = {
    id: `worker-plain-${port}`,
    worker_id: `worker-plain-${port}`,
    url: `http://127.0.0.1:${port}`,
    model_ref: 'builtin:honeycomb',
    backend: 'cpu',
    device: 0,
    state: 'idle',
    slots_total: 4,
    slots_available: 4,
    last_activity: new Date().toISOString(),
    pid: process.pid,
    restart_count: 0,
    failed_health_checks: 0,
    owned: true,
  };
  const resources = {
    ram_total_gb: 32,
    ram_available_gb: 24,
    disk_total_gb: 500,
    disk_available_gb: 400,
    ram_available_mb: 24_576,
    disk_available_mb: 409_600,
    gpus: [],
  };
  const backends = [{ name: 'cpu', available: true, devices: 1 }];
  return { workers: [worker], resources, backends, models: [], version };
}

function answer(response: ServerResponse, body: string): void {
  response.setHeader('Content-Type', 'application/json').end(body);
}

function streamEvents(response: ServerResponse, port: number): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const event = { type: 'snapshot', ...snapshot(port) };
  response.write(`id: 1\nevent: snapshot\ndata: ${JSON.stringify(event)}\n\n`);
  const timer = setInterval(() => response.write(': alive\n\n'), KEEP_ALIVE_MS);
  response.once('close', () => clearInterval(timer));
}

async function startHive(wanted: number): Promise<number> {
  const server = createServer((request, response) => {
    const { port } = server.address() as AddressInfo;
    const { workers, resources, backends, models } = snapshot(port);
    const [path] = (request.url ?? '').split('?');
    const health = { status: 'alive', version, api_version: 'v1', pid: process.pid };
    if (text !== undefined) return answer(response, text);
    if (path === '/v1/health') return answer(response, JSON.stringify(health));
    if (path === '/v1/events') return streamEvents(response, port);
    if (path === '/v1/workers/list') return answer(response, JSON.stringify({ workers }));
    if (path === '/v1/models/list') return answer(response, JSON.stringify({ models }));
    if (path === '/v1/resources') return answer(response, JSON.stringify(resources));
    if (path === '/v1/backends/list') return answer(response, JSON.stringify({ backends }));
    if (path === '/v1/worker-binaries/list') return answer(response, JSON.stringify({ binaries: [] }));
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(wanted, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

console.log(`ports: ${(await Promise.all(ports.map((port) => startHive(Number(port))))).join(' ')}`);
process.once('SIGTERM', () => process.exit(0));
