import { signalIfThere } from '../features/support/process-signal.js';
import { pass } from './seconds.js';
import { NODE, type Site } from './site.js';
import { MODELS } from './soak-texts.js';

const MOST_PAUSE_MS = 6_000;
const LEAST_PAUSE_MS = 1_500;
const STOP_MS = 1_500;
const SILENCE_MS = 1_500;

/** What chaos can do, and how often in comparison. */
const DEEDS = [
  'worker',
  'worker',
  'worker',
  'queen',
  'hive',
  'keeper',
  'stop',
  'stop',
  'sshd',
  'link',
  'shutdown',
  'spawn',
  'pull',
];

/** Kills, stops and cuts at random until it is over; counts what it has done. A queen that is gone is started again. */
export async function wreak(
  site: Site,
  random: () => number,
  isOver: () => boolean,
  done: Record<string, number>,
): Promise<void> {
  const pick = <T>(choices: readonly T[]): T | undefined => choices[Math.floor(random() * choices.length)];
  const kill = (pids: readonly number[]) => {
    const pid = pick(pids);
    if (pid !== undefined) signalIfThere(pid, 'SIGKILL');
  };
  while (!isOver()) {
    await pass(LEAST_PAUSE_MS + random() * (MOST_PAUSE_MS - LEAST_PAUSE_MS));
    if (isOver()) return;
    const deed = pick(DEEDS) ?? 'worker';
    done[deed] = (done[deed] ?? 0) + 1;
    switch (deed) {
      case 'worker':
        kill(site.pidsOf('llm-worker'));
        break;
      case 'hive':
        kill(site.pidsOf('rbee-hive'));
        break;
      case 'keeper':
        kill(site.processes().flatMap(({ pid, command }) => (/rbee-keeper\S* infer/.test(command) ? [pid] : [])));
        break;
      case 'queen':
        kill(site.pidsOf('queen-rbee'));
        await site.startQueen({ persistent: true });
        break;
      case 'stop': {
        const pid = pick([...site.pidsOf('llm-worker'), ...site.pidsOf('rbee-hive'), ...site.pidsOf('queen-rbee')]);
        if (pid === undefined) break;
        signalIfThere(pid, 'SIGSTOP');
        await pass(STOP_MS);
        signalIfThere(pid, 'SIGCONT');
        break;
      }
      case 'sshd':
        await site.machine.restartServer();
        break;
      case 'link':
        site.relays.ssh?.silence();
        await pass(SILENCE_MS);
        if (random() < 0.5) site.relays.ssh?.reset();
        site.relays.ssh?.restore();
        break;
      default:
        await ask(site, deed, pick(MODELS) ?? MODELS[0], pick);
    }
  }
}

/** What an operator does meanwhile. It may well fail: what it is done to may just have been killed. */
async function ask(
  site: Site,
  deed: string,
  model: string,
  pick: <T>(choices: readonly T[]) => T | undefined,
): Promise<void> {
  const attempt = async () => {
    if (deed === 'pull') return void (await site.post('/v2/models/pull', { model, node: NODE }));
    if (deed === 'spawn') return void (await site.post('/v2/workers/spawn', { model, node: NODE, backend: 'cpu' }));
    // To end one that is being started is to refuse the tasks that wait for it.
    const worker = pick((await site.workers()).filter(({ state }) => /^(idle|busy)$/.test(state)));
    if (worker) await site.post('/v2/workers/shutdown', { worker_id: worker.worker_id });
  };
  await attempt().catch(() => undefined);
}
