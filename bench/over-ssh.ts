/**
 * What the SSH link costs: the same hive and worker reached by the same queen as this machine and, through an SSH server on
 * the loopback address, as another one. Both ways are measured in turn, A B A B, and compared within each round.
 */
import { mkdirSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { makeKey, SshNode } from '../features/support/ssh-node.js';
import { cpuMicroseconds, median } from './figures.js';
import { freePorts, Installation } from './installation.js';
import { closeConnections, type Measured, measureStream } from './stream-client.js';

const ROUNDS = Number(process.env.BENCH_REPEATS ?? 15) * 2;
const JOB = { prompt: 'write a short story', temperature: 0, cache_prompt: false };
const WAYS = ['localhost', 'far'] as const;

interface Figures {
  /** Tokens a second over whole answers, the way to the first token included. */
  readonly whole: number[];
  readonly first: number[];
  readonly speed: number[];
}

/** Tokens a second from the first token to the last byte, as the client sees them; the way to the first has a row of its own. */
function decodeSpeed({ tokens, firstTokenMs, totalMs }: Measured): number {
  return ((tokens - 1) / (totalMs - firstTokenMs)) * 1000;
}

const installation = await Installation.create();
const { queenPort, hivePort, workerPort, home, variables } = installation;
const key = join(home, '.ssh/id_ed25519');
makeKey(key);
const folder = join(home, 'far');
mkdirSync(folder);
const [sshPort = 0] = await freePorts(1);
const server = await SshNode.start({ folder, host: '127.0.0.1', port: sshPort, hivePort, workerPort, variables });
server.letIn(`${key}.pub`);
try {
  await installation.start('apps/rbee-hive/bin/rbee-hive.js', ['daemon'], `http://127.0.0.1:${hivePort}/v1/health`);
  const queenUrl = `http://127.0.0.1:${queenPort}`;
  const queen = await installation.start('apps/queen-rbee/bin/queen-rbee.js', ['daemon'], `${queenUrl}/health`);
  const added = await fetch(`${queenUrl}/v2/registry/beehives/add`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      node_name: 'far',
      ssh_host: '127.0.0.1',
      ssh_port: sshPort,
      ssh_user: userInfo().username,
      ssh_key_path: key,
      hive_port: hivePort,
    }),
  });
  if (!added.ok) throw new Error(await added.text());
  const run = (node: string) => measureStream({ url: `${queenUrl}/v2/tasks`, body: { ...JOB, node } });
  for (const way of WAYS) for (let warmUp = 0; warmUp < 3; warmUp++) await run(way);

  console.log(`# ${new Date().toISOString()}, ${JOB.prompt}, median of ${ROUNDS} rounds, both ways in each\n`);
  console.log(
    "| streams | link | tokens/s in all, whole answers | tokens/s in all, after the first | time to first token | the queen's CPU per token |",
  );
  console.log('|---|---|---|---|---|---|');
  for (const streams of [1, 4]) {
    const figures: Record<string, Figures> = {
      localhost: { whole: [], first: [], speed: [] },
      far: { whole: [], first: [], speed: [] },
    };
    const cost: Record<string, { cpu: number; tokens: number }> = {
      localhost: { cpu: 0, tokens: 0 },
      far: { cpu: 0, tokens: 0 },
    };
    for (let round = 0; round < ROUNDS; round++) {
      // Whichever comes first in a round has no advantage in the end.
      for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
        const before = cpuMicroseconds(queen.pid as number);
        const began = performance.now();
        const measured = await Promise.all(Array.from({ length: streams }, () => run(way)));
        const tokens = measured.reduce((sum, one) => sum + one.tokens, 0);
        const { whole = [], first = [], speed = [] } = figures[way] ?? {};
        whole.push((tokens / (performance.now() - began)) * 1000);
        speed.push(measured.reduce((sum, one) => sum + decodeSpeed(one), 0));
        first.push(median(measured.map(({ firstTokenMs }) => firstTokenMs)));
        const sum = cost[way];
        if (!sum) continue;
        sum.cpu += cpuMicroseconds(queen.pid as number) - before;
        sum.tokens += tokens;
      }
    }
    for (const way of WAYS) {
      const { whole = [], first = [], speed = [] } = figures[way] ?? {};
      const { cpu = 0, tokens = 1 } = cost[way] ?? {};
      console.log(
        `| ${streams} | ${way === 'far' ? 'SSH' : 'local'} | ${median(whole).toFixed(0)} | ${median(speed).toFixed(0)} | ${median(first).toFixed(1)} ms | ${(cpu / tokens).toFixed(0)} µs |`,
      );
    }
    const { localhost: local, far } = figures;
    if (!local || !far) continue;
    const ratio = (name: 'whole' | 'speed') =>
      median(far[name].map((value, round) => value / (local[name][round] ?? Number.NaN))).toFixed(3);
    const differences = far.first.map((value, round) => value - (local.first[round] ?? Number.NaN));
    console.log(
      `| ${streams} | SSH against local | ${ratio('whole')} | ${ratio('speed')} (target ≥ 0.97) | ${median(differences).toFixed(1)} ms more (target ≤ 15 ms) | |`,
    );
  }
} finally {
  closeConnections();
  await installation.end();
  await server.stopServer();
  installation.remove();
}
