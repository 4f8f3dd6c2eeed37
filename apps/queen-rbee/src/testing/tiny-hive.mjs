// A hive in one small program, for tests of how one is started and ended. It is told how to behave by its first argument.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [behaviour, , , port] = process.argv.slice(2);
const version = '0.1.0';
const snapshot = {
  type: 'snapshot',
  version,
  workers: [],
  models: [],
  backends: [],
  resources: {
    ram_total_gb: 1,
    ram_available_gb: 1,
    disk_total_gb: 1,
    disk_available_gb: 1,
    ram_available_mb: 1,
    disk_available_mb: 1,
    gpus: [],
  },
};

const answerHealth = (response) => {
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ status: 'alive', version, api_version: 'v1', pid: process.pid }));
};
const readKey = () => {
  // biome-ignore lint/style/noProcessEnv: it is a program, and this is how the queen tells it
  const file = process.env.RBEE_HIVE_TOKEN_FILE;
  return file === undefined ? undefined : readFileSync(file, 'utf8').trim();
};
let key = readKey();
const answerWorkers = (request, response) => {
  const known = key === undefined || request.headers.authorization === `Bearer ${key}`;
  response.writeHead(known ? 200 : 401, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(known ? { workers: [] } : {}));
};
const server = createServer((request, response) => {
  if (behaviour !== 'ill' && request.url === '/v1/health') return answerHealth(response);
  if (behaviour !== 'ill' && request.url === '/v1/workers/list') return answerWorkers(request, response);
  if (behaviour === 'ill' || request.url !== '/v1/events') return response.writeHead(404).end();
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write(`event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`);
});

process.stdout.write(`tiny hive: ${process.argv.slice(3).join(' ')}\n`);
if (behaviour === 'explains') {
  process.stderr.write('[rbee-hive] Error: port 1 is taken\n\n  choose another one\n    at somewhere (file.js:1:1)\n');
  process.exitCode = 1;
} else if (behaviour === 'exits') {
  process.stderr.write('cannot open the catalog: token=abcdef\n');
  process.exitCode = 3;
} else {
  // A silent one listens where nobody looks for it.
  server.listen(behaviour === 'silent' ? 0 : Number(port), '127.0.0.1');
  server.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
}
if (behaviour.startsWith('killed:')) {
  const marker = behaviour.slice('killed:'.length);
  // Only the first one.
  if (!existsSync(marker)) {
    writeFileSync(marker, '');
    process.kill(process.pid, 'SIGKILL');
  }
}
process.on('SIGHUP', () => {
  key = readKey();
  process.stdout.write('tiny hive: read again\n');
});
process.on('SIGTERM', () => {
  if (behaviour === 'stubborn') return;
  if (behaviour === 'dying') process.kill(process.pid, 'SIGKILL');
  server.close();
  server.closeAllConnections();
});
