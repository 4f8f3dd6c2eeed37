/**
 * How long a list of workers takes with twenty nodes: just after they were added, in peace, while one hive stands still,
 * and in the first moments of a queen that was started again. The nodes are scripted hives behind one SSH server.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { makeKey, SshNode } from '../features/support/ssh-node.js';
import { median } from './figures.js';
import { freePorts, Installation, PROJECT } from './installation.js';

const NODES = 20;
const TARGET_MS = 200;

const installation = await Installation.create();
const { queenPort, hivePort, workerPort, home, variables } = installation;
const queenUrl = `http://127.0.0.1:${queenPort}`;
const key = join(home, '.ssh/id_ed25519');
makeKey(key);
const folder = join(home, 'far');
mkdirSync(folder);
const [sshPort = 0] = await freePorts(1);
const server = await SshNode.start({ folder, host: '127.0.0.1', port: sshPort, hivePort, workerPort, variables });
server.letIn(`${key}.pub`);

/** Hives in one process, which can be halted as one. */
async function startHives(count: number) {
  const script = join(PROJECT, 'features/scripted/plain-hives.ts');
  const args = ['--import', import.meta.resolve('tsx'), script, '{}', ...Array.from({ length: count }, () => '0')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, ports: (line.toString().match(/\d+/g) ?? []).map(Number) };
}

async function add(port: number, index: number): Promise<void> {
  const response = await fetch(`${queenUrl}/v2/registry/beehives/add`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      node_name: `node-${index + 1}`,
      ssh_host: '127.0.0.1',
      ssh_port: sshPort,
      ssh_user: userInfo().username,
      ssh_key_path: key,
      hive_port: port,
    }),
  });
  if (!response.ok) throw new Error(await response.text());
}

async function list(): Promise<{ ms: number; workers: number }> {
  const started = performance.now();
  const { workers } = (await (await fetch(`${queenUrl}/v2/workers/list`)).json()) as { workers: unknown[] };
  return { ms: performance.now() - started, workers: workers.length };
}

/** Lists again and again for a while, and prints how long that took. */
async function watch(what: string, forMs: number): Promise<void> {
  const took: number[] = [];
  let seen = 0;
  for (const end = performance.now() + forMs; performance.now() < end; ) {
    const { ms, workers } = await list();
    took.push(ms);
    seen = workers;
    await new Promise((settle) => setTimeout(settle, 20));
  }
  const figures = [took[0] ?? Number.NaN, median(took), Math.max(...took)].map((ms) => `${ms.toFixed(0)} ms`);
  console.log(`| ${what} | ${figures.join(' | ')} | ${seen} | ≤ ${TARGET_MS} ms |`);
}

const startQueen = () => installation.start('apps/queen-rbee/bin/queen-rbee.js', ['daemon'], `${queenUrl}/health`);
const most = await startHives(NODES - 1);
const last = await startHives(1);
try {
  const queen = await startQueen();
  await Promise.all([...most.ports, ...last.ports].map(add));
  console.log(`# ${new Date().toISOString()}, ${NODES} nodes over SSH\n`);
  console.log('| workers list | first | median | longest | workers in the end | target |\n|---|---|---|---|---|---|');
  await watch('just after the nodes were added', 1_000);
  await watch('in peace', 3_000);
  last.child.kill('SIGSTOP');
  await watch('one hive stands still', 8_000);
  last.child.kill('SIGCONT');
  await installation.end(queen);
  await startQueen();
  await watch('the queen was started again', 3_000);
} finally {
  await installation.end();
  last.child.kill('SIGCONT');
  for (const { child } of [most, last]) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  await server.stopServer();
  installation.remove();
}
