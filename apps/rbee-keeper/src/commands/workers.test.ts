import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { ScriptedQueen } from '../testing/scripted-queen.js';
import { SPAWNED } from '../testing/scripted-starts.js';
import { makeFolder, removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const run = (...args: string[]) => runKeeper(['workers', ...args], { queenUrl: queen.url });

describe('workers spawn', () => {
  it('starts the model that comes with rbee on the processor, and shows how that goes', async () => {
    const { code, stdout, stderr } = await run('spawn');
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: '[queen-rbee] worker-7 is ready on localhost (idle): http://127.0.0.1:8001\n',
    });
    expect(stderr).toBe('[rbee-hive] ended an idle worker\n[model-loader] loading 50 % (layers 16 of 32)\n');
    expect(queen.starts.asked).toEqual([{ model: 'builtin:honeycomb', backend: 'cpu', pinned: false }]);
  });

  it('goes with every flag', async () => {
    queen.starts.script = async (stream) => void stream.send({ ...SPAWNED, node: 'mac', pinned: true });
    const flags = '--node mac --model hf:org/m:Q8_0 --backend metal --device 0 --slots 8 --ctx 512 --pin';
    const { stdout } = await run('spawn', ...flags.split(' '));
    expect(stdout).toBe('[queen-rbee] worker-7 is ready on mac (idle, pinned): http://127.0.0.1:8001\n');
    expect(queen.starts.asked).toEqual([
      {
        node: 'mac',
        model: 'hf:org/m:Q8_0',
        backend: 'metal',
        device: 0,
        slots_total: 8,
        context_size: 512,
        pinned: true,
      },
    ]);
  });

  it('takes the path of a model file', async () => {
    const home = makeFolder();
    writeFileSync(join(home, 'a.gguf'), '');
    await runKeeper(['workers', 'spawn', '--model', '~/a.gguf'], { queenUrl: queen.url, home });
    expect(queen.starts.asked).toMatchObject([{ model: `file://${join(home, 'a.gguf')}` }]);
  });

  it('gives the worker as one JSON object', async () => {
    const { stdout } = await run('spawn', '--json');
    const { type: _type, ...worker } = SPAWNED;
    expect(JSON.parse(stdout)).toEqual(worker);
  });

  it('fails with what stood in the way', async () => {
    queen.starts.script = async () => {
      throw new RbeeError('INSUFFICIENT_RAM', 'not enough memory', { suggestion: 'let a pinned worker go' });
    };
    const { code, stdout, stderr } = await run('spawn');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/not enough memory[\s\S]*INSUFFICIENT_RAM[\s\S]*Let a pinned worker go/);
  });

  it('says that the worker goes on when the user gives up', async () => {
    queen.starts.script = async (stream, signal) => {
      stream.send({ type: 'narration', actor: 'rbee-hive', action: 'b', target: 'c', human: 'starting' });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    const keeper = startKeeper(['workers', 'spawn'], { queenUrl: queen.url, input: '' });
    await keeper.stderr.waitFor(/starting/);
    keeper.signal();
    expect(await keeper.code).toBe(130);
    expect(keeper.stderr.text).toContain('goes on; see: rbee-keeper workers list\n');
    expect(queen.released).toBe(1);
  });

  it.each([
    [['--slots', '0'], 'INVALID_REQUEST', '--slots: must be at least 1'],
    [['--ctx', '7'], 'INVALID_REQUEST', '--ctx: must be at least 8'],
    [['--backend', 'gpu'], 'INVALID_BACKEND', '--backend: '],
    [['--model', 'llama'], 'INVALID_MODEL_REF', '--model'],
    [['--node', 'a@b'], 'INVALID_NODE_NAME', '--node: '],
  ])('refuses %j before a queen is asked', async (args, code, says) => {
    const result = await run('spawn', ...args);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toContain(`code: ${code}`);
    expect(result.stderr).toContain(says);
    expect(queen.starts.asked).toEqual([]);
    expect(queen.leases.size + queen.released).toBe(0);
  });
});

describe('workers pin', () => {
  it('keeps a worker loaded, and lets it go', async () => {
    expect((await run('pin', '--id', 'worker-1')).stdout).toBe('[queen-rbee] worker-1 stays loaded\n');
    expect((await run('pin', '--id', 'worker-1', '--off')).stdout).toBe(
      '[queen-rbee] worker-1 may end when it is idle\n',
    );
    expect(queen.starts.pins).toEqual([
      { worker_id: 'worker-1', pinned: true },
      { worker_id: 'worker-1', pinned: false },
    ]);
  });

  it('gives the worker as one JSON object', async () => {
    const { stdout } = await run('pin', '--id', 'worker-1', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ worker_id: 'worker-1', pinned: true, model_ref: 'builtin:honeycomb' });
  });

  it('fails for a worker that there is not', async () => {
    const { code, stderr } = await run('pin', '--id', 'worker-none');
    expect(code).toBe(1);
    expect(stderr).toContain('WORKER_NOT_FOUND');
  });

  it('finds a worker by the beginning of its id, where only one begins so', async () => {
    queen.workers = [listed('worker-7f3c-1'), listed('worker-7f3c-2'), listed('worker-a-1')];
    for (const part of ['worker-a', 'worker-7f', 'worker-7f3c']) queen.starts.unknown.add(part);
    expect((await run('pin', '--id', 'worker-a')).stdout).toBe('[queen-rbee] worker-a-1 stays loaded\n');
    expect(queen.starts.pins).toEqual([{ worker_id: 'worker-a-1', pinned: true }]);
    const { code, stderr } = await run('pin', '--id', 'worker-7f');
    expect(code).toBe(1);
    expect(stderr).toContain('2 workers have an id that begins with worker-7f');
    expect(stderr).toContain('worker ids: worker-7f3c-1, worker-7f3c-2');
    expect(stderr).toContain('rbee-keeper workers list');
  });
});

function listed(worker_id: string) {
  return {
    worker_id,
    node: 'localhost',
    url: 'http://127.0.0.1:8001',
    model_ref: 'builtin:honeycomb',
    state: 'idle' as const,
    backend: 'cpu' as const,
    device: 0,
    slots_total: 4,
    slots_available: 4,
    capabilities: [],
    models_loaded: [],
    rbee_hive_url: '',
  };
}

it('workers list shows which are pinned', async () => {
  const worker = listed('worker-1');
  queen.workers = [
    { ...worker, pinned: true },
    { ...worker, worker_id: 'worker-2', pinned: false },
  ];
  const rows = (await run('list')).stdout.split('\n').map((line) => line.split(/ {2,}/)[2]);
  expect(rows.slice(0, 3)).toEqual(['STATE', 'idle, pinned', 'idle']);
  expect(JSON.parse((await run('list', '--json')).stdout)).toEqual({ workers: queen.workers });
});
