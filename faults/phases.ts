import type { TestHub } from '@rbee/fixtures';
import type { Program } from '../features/support/program.js';
import { waitUntil } from '../features/support/wait.js';
import { Filler } from './filler.js';
import type { Phase } from './matrix.js';
import { MODEL, MODEL_FILE } from './model.js';
import { NODE, type Site } from './site.js';

/** Words of the answer that have come before a fault in the middle of it. */
const WORDS_BEFORE = 10;
/** Part of the file that has come before a fault during a download. */
const HELD_BYTES = 8 * 2 ** 20;

/** A phase that is being made ready on a site, before the keeper is started. */
interface Stage {
  /** Resolves when the keeper's task is in the phase. */
  reached(keeper: Program): Promise<void>;
  /** Lets the task go on, after the fault has begun. */
  release(): Promise<void>;
}

const nothing = async () => undefined;

/** Brings a site to where the keeper's task will meet a phase. */
export async function setStage(phase: Phase, site: Site, hub: TestHub): Promise<Stage> {
  if (phase === 'download') {
    const held = hub.pauseAt(MODEL_FILE, HELD_BYTES);
    return { reached: () => held, release: async () => hub.resume() };
  }
  await site.post('/v2/models/pull', { model: MODEL, node: NODE });
  if (phase === 'load') return { reached: (keeper) => untilLoading(site, keeper), release: nothing };
  await warm(site);
  switch (phase) {
    case 'queued': {
      const filler = await Filler.start(site);
      return {
        reached: async (keeper) => void (await keeper.waitFor('stderr', /place \d+ in the queue/)),
        release: () => filler.stop(),
      };
    }
    case 'SSH':
      return holdConnection(site);
    case 'prompt':
      return {
        reached: async (keeper) => void (await keeper.waitFor('stderr', /generation started/)),
        release: nothing,
      };
    case 'decode':
      return { reached: untilWords, release: nothing };
    case 'drain':
      return {
        reached: async (keeper) => {
          await untilWords(keeper);
          const [worker] = await site.workers();
          await site.post('/v2/workers/shutdown', { worker_id: worker?.worker_id });
        },
        release: nothing,
      };
  }
}

/** Runs one short task, so that the model, the hive and a worker are there. */
async function warm(site: Site): Promise<void> {
  const body = { node: NODE, model: MODEL, prompt: 'warm', template: 'none', temperature: 0, max_tokens: 1 };
  await site.post('/v2/tasks', body);
}

async function untilWords(keeper: Program): Promise<void> {
  await keeper.waitFor('stdout', new RegExp(`(\\S+\\s+){${WORDS_BEFORE}}`));
}

/** A worker process that runs and has not loaded its model. */
async function untilLoading(site: Site, keeper: Program): Promise<void> {
  await waitUntil(
    () => {
      if (!keeper.running) throw new Error(keeper.report());
      return site.pidsOf('llm-worker').length > 0;
    },
    () => `no worker was started\n${keeper.report()}`,
  );
}

/** The queen has to connect anew, and its connection is held while it is being made. */
function holdConnection({ relays }: Site): Stage {
  const { ssh } = relays;
  // A queen that must reach a node without SSH has no connection to make.
  if (!ssh) throw new Error('the node of this site is not reached over SSH');
  ssh.silence();
  const next = ssh.untilNext();
  ssh.reset();
  return {
    reached: async (keeper) => {
      await Promise.all([next, keeper.waitFor('stderr', /accepted the task/)]);
    },
    release: async () => ssh.restore(),
  };
}
