import { describe, expect, it } from '@jest/globals';
import { type Placement, placeTask } from './place-task.js';
import type { NodeModelView, NodeView, PendingStart, Wanted, WorkerView } from './snapshot.js';

const MB = 2 ** 20;

function worker(worker_id: string, fields: Partial<WorkerView> = {}): WorkerView {
  return {
    worker_id,
    model_ref: 'hf:org/m',
    backend: 'cpu',
    device: 0,
    state: 'idle',
    slots_total: 4,
    slots_available: 4,
    inFlight: 0,
    lastEndedMs: 500,
    ...fields,
  };
}

function node(name: string, fields: Partial<NodeView> = {}): NodeView {
  return {
    name,
    link: 'ssh',
    hiveUp: true,
    trouble: undefined,
    workers: [],
    models: [],
    backends: [{ name: 'cpu', available: true, devices: 1 }],
    resources: undefined,
    starting: [],
    ...fields,
  };
}

/** An idle worker of another model that would free so many MB. */
const roomy = (mb: number, fields: Partial<WorkerView> = {}) =>
  worker('old', { model_ref: 'hf:org/n', memory_bytes: mb * MB, ...fields });

/** A variant of hf:org/m in a node's catalog. */
const model = (size_mb: number, variant = 'Q4_K_M'): NodeModelView => ({
  provider: 'hf',
  reference: 'org/m',
  variant,
  local_path: `/models/hf/org/m/${variant}/m-${variant}.gguf`,
  size_bytes: size_mb * MB,
});
const start = (fields: Partial<PendingStart> = {}): PendingStart => ({
  key: 's1',
  model: 'hf:org/m',
  backend: 'cpu',
  device: 0,
  worker: undefined,
  ...fields,
});
const ram = (ram_available_mb: number, disk_available_mb = 500_000) =>
  ({ ram_available_mb, disk_available_mb }) as NonNullable<NodeView['resources']>;
const away = { hiveUp: false, backends: [] } satisfies Partial<NodeView>;
/** A node with one GPU for each figure of free memory in MB. */
const gpus = (...free: number[]): Partial<NodeView> => ({
  backends: [
    { name: 'cpu', available: true, devices: 1 },
    { name: 'cuda', available: true, devices: free.length },
  ],
  resources: {
    ...ram(64_000),
    gpus: free.map((vram_free_mb, index) => ({
      index,
      name: 'GPU',
      backend: 'cuda',
      vram_total_mb: 24_000,
      vram_free_mb,
    })),
  },
});
const wanted: Wanted = { model: 'hf:org/m', backend: 'cpu' };
/** What was decided, without the words. */
const short = (placement: Placement) =>
  placement.action === 'refuse'
    ? placement.error.code
    : [
        placement.action,
        placement.node,
        ...('worker' in placement ? [placement.worker] : []),
        ...('workers' in placement ? placement.workers.map(({ id }) => id) : []),
        ...('start' in placement ? [placement.start] : []),
      ].join(' ');

describe('placeTask', () => {
  const busy = worker('w', { inFlight: 4, state: 'busy', slots_available: 0 });
  const table: [string, Partial<Wanted>, NodeView[], string][] = [
    ['no hive known', {}, [node('a', { hiveUp: false })], 'start_hive a'],
    ['an empty hive', {}, [node('a')], 'start_worker a'],
    ['an idle match', {}, [node('a', { workers: [worker('w')] })], 'use a w'],
    ['another model', {}, [node('a', { workers: [worker('w', { model_ref: 'hf:org/n' })] })], 'start_worker a'],
    ['another variant', {}, [node('a', { workers: [worker('w', { model_ref: 'hf:org/m:Q8_0' })] })], 'start_worker a'],
    ['another backend', {}, [node('a', { workers: [worker('w', { backend: 'cuda' })] })], 'start_worker a'],
    ['another device', { device: 1 }, [node('a', { workers: [worker('w')] })], 'start_worker a'],
    ['any device will do', {}, [node('a', { workers: [worker('w', { device: 3 })] })], 'use a w'],
    [
      'the bundled model by its full name',
      { model: 'builtin:honeycomb' },
      [node('a', { workers: [worker('w', { model_ref: 'builtin:honeycomb:q4_k_m' })] })],
      'use a w',
    ],
    [
      'a file in another spelling',
      { model: 'file:/m.gguf' },
      [node('a', { workers: [worker('w', { model_ref: 'file:///m.gguf' })] })],
      'use a w',
    ],
    ['an excluded worker', { excluded: new Set(['w']) }, [node('a', { workers: [worker('w')] })], 'start_worker a'],
    ['a draining worker', {}, [node('a', { workers: [worker('w', { state: 'draining' })] })], 'start_worker a'],
    ['a failed worker', {}, [node('a', { workers: [worker('w', { state: 'failed' })] })], 'start_worker a'],
    ['a loading worker', {}, [node('a', { workers: [worker('w', { state: 'loading' })] })], 'follow a w'],
    ['an ill worker', {}, [node('a', { workers: [worker('w', { state: 'unhealthy' })] })], 'wait a w'],
    [
      'busy for others only',
      {},
      [node('a', { workers: [worker('w', { state: 'busy', slots_available: 0 })] })],
      'use a w',
    ],
    ['no slot by own count', {}, [node('a', { workers: [busy] })], 'wait a w'],
    [
      'an idle one before a busy one',
      {},
      [node('a', { workers: [worker('x', { state: 'busy' }), worker('y')] })],
      'use a y',
    ],
    [
      'most free slots',
      {},
      [node('a', { workers: [worker('x', { inFlight: 2 }), worker('y', { inFlight: 1 })] })],
      'use a y',
    ],
    [
      'the slots of others count as well',
      {},
      [node('a', { workers: [worker('x', { slots_available: 1 }), worker('y', { inFlight: 2 })] })],
      'use a y',
    ],
    ['longest idle', {}, [node('a', { workers: [worker('x'), worker('y', { lastEndedMs: 400 })] })], 'use a y'],
    [
      'one that was never used before',
      {},
      [node('a', { workers: [worker('x'), worker('y', { lastEndedMs: undefined })] })],
      'use a y',
    ],
    ['a warm worker on another node', {}, [node('a'), node('b', { workers: [worker('w')] })], 'use b w'],
    [
      'not on another node than asked',
      { node: 'a' },
      [node('a'), node('b', { workers: [worker('w')] })],
      'start_worker a',
    ],
    ['a start of another task', {}, [node('a', { starting: [start()] })], 'join a s1'],
    ['a start on the wanted device', { device: 0 }, [node('a', { starting: [start()] })], 'join a s1'],
    ['a start on another device', { device: 1 }, [node('a', { starting: [start()] })], 'start_worker a'],
    [
      'a start whose device is open',
      { device: 1 },
      [node('a', { starting: [start({ device: undefined })] })],
      'start_worker a',
    ],
    ['a start of another model', {}, [node('a', { starting: [start({ model: 'hf:org/n' })] })], 'start_worker a'],
    [
      'a started worker belongs to those who wait for it',
      {},
      [node('a', { starting: [start({ worker: 'w' })], workers: [worker('w')] })],
      'join a s1',
    ],
    [
      'a started worker, by its device',
      { device: 2 },
      [node('a', { starting: [start({ worker: 'w', device: undefined })], workers: [worker('w', { device: 2 })] })],
      'join a s1',
    ],
    ['a free worker before a start', {}, [node('a', { starting: [start()], workers: [worker('w')] })], 'use a w'],
    ['a start before a queue', {}, [node('a', { starting: [start()], workers: [busy] })], 'join a s1'],
    [
      'every worker that fits, wherever it is, the least busy first',
      {},
      [
        node('a', { workers: [worker('x', { state: 'unhealthy' }), worker('y', { inFlight: 5, state: 'busy' })] }),
        node('b', { workers: [worker('z', { inFlight: 4, state: 'busy' }), worker('v', { state: 'draining' })] }),
      ],
      'wait b z x y',
    ],
    [
      'a worker with the very model that an answer began with',
      { digest: 'd1' },
      [node('a', { workers: [worker('x', { model_digest: 'd2' }), worker('y', { model_digest: 'd1' }), worker('z')] })],
      'use a y',
    ],
    [
      'a node whose catalog has the very model',
      { digest: 'd1' },
      [
        node('a', { models: [{ ...model(1), digest: 'd2' }] }),
        node('b', { models: [{ ...model(1), digest: 'd1' }] }),
        node('c'),
      ],
      'start_worker b',
    ],
    [
      'a start of the very model',
      { digest: 'd1' },
      [
        node('a', { models: [{ ...model(1), digest: 'd2' }], starting: [start()] }),
        node('b', { models: [{ ...model(1), digest: 'd1' }], starting: [start({ key: 's2' })] }),
      ],
      'join b s2',
    ],
    ['another model of that name on the asked-for node', { digest: 'd1', node: 'a' }, [node('a')], 'NO_NODE_FITS'],
    ['a hive that may have the model', { digest: 'd1' }, [node('a', { hiveUp: false })], 'start_hive a'],
    [
      'free memory before memory that idle workers would free',
      {},
      [
        node('a', { models: [model(500)], resources: ram(100), workers: [roomy(500)] }),
        node('b', { resources: ram(600) }),
      ],
      'start_worker b',
    ],
    [
      'memory that idle workers would free',
      {},
      [
        node('a', { models: [model(500)], resources: ram(100), workers: [roomy(499)] }),
        node('b', { resources: ram(100), workers: [roomy(250), roomy(250)] }),
      ],
      'start_worker b',
    ],
    [
      'no memory of workers that are pinned, have a job, or somebody else has one on them',
      {},
      [
        node('a', { models: [model(500)], resources: ram(100), workers: [roomy(900, { pinned: true })] }),
        node('b', { resources: ram(100), workers: [roomy(900, { inFlight: 1 })] }),
        node('c', { resources: ram(100), workers: [roomy(900, { slots_available: 3 })] }),
        node('d', { resources: ram(100), workers: [roomy(900, { state: 'loading' })] }),
      ],
      'NO_NODE_FITS',
    ],
    [
      'memory of the GPU on which idle workers are',
      { backend: 'cuda', device: 1 },
      [
        node('a', { ...gpus(600, 100), models: [model(500)], workers: [roomy(500, { backend: 'cuda', device: 0 })] }),
        node('b', { ...gpus(600, 100), workers: [roomy(500, { backend: 'cuda', device: 1, model_ref: 'hf:org/n' })] }),
      ],
      'start_worker b',
    ],
    ['the node that has the model', {}, [node('a'), node('b', { models: [model(1)] })], 'start_worker b'],
    [
      'the default variant by its name, where the catalog says so',
      {},
      [node('a', { models: [model(1)], workers: [worker('w', { model_ref: 'hf:org/m:Q4_K_M' })] })],
      'use a w',
    ],
    [
      'the only variant there is, without its name',
      {},
      [node('a', { models: [model(1, 'Q8_0')], workers: [worker('w', { model_ref: 'hf:org/m:q8_0' })] })],
      'use a w',
    ],
    [
      'a variant that is not meant there',
      {},
      [
        node('a', {
          models: [model(1), model(2, 'Q8_0')],
          workers: [worker('w', { model_ref: 'hf:org/m:Q8_0' })],
        }),
      ],
      'start_worker a',
    ],
    [
      'a file of the repository',
      { model: 'hf:org/m:m-Q8_0.gguf' },
      [node('a', { models: [model(2, 'Q8_0')], workers: [worker('w', { model_ref: 'hf:org/m:Q8_0' })] })],
      'use a w',
    ],
    [
      'a start of the same model under another name',
      { model: 'hf:org/m:Q4_K_M' },
      [node('a', { models: [model(1)], starting: [start()] })],
      'join a s1',
    ],
    [
      'a disk with room for what another node has',
      {},
      [
        node('a', { resources: ram(9000, 400) }),
        node('b', { models: [model(500)], trouble: 'away' }),
        node('c', { resources: ram(8000, 500) }),
      ],
      'start_worker c',
    ],
    ['a node whose hive answers', {}, [node('a', { hiveUp: false }), node('b')], 'start_worker b'],
    [
      'the node with less to do',
      {},
      [node('a', { workers: [worker('w', { model_ref: 'hf:org/n', inFlight: 2 })] }), node('b')],
      'start_worker b',
    ],
    [
      'the node with the backend',
      { backend: 'metal' },
      [node('a'), node('b', { backends: [{ name: 'metal', available: true, devices: 1 }] })],
      'start_worker b',
    ],
    [
      'this machine where no hive runs yet',
      {},
      [node('a', away), node('localhost', { ...away, link: 'local' })],
      'start_hive localhost',
    ],
    [
      'the machine with most free memory',
      {},
      [node('a', { resources: ram(8000) }), node('b', { resources: ram(9000) })],
      'start_worker b',
    ],
    [
      'the GPU with most free memory',
      { backend: 'cuda' },
      [node('a', gpus(4000, 6000)), node('b', gpus(5000, 5500)), node('c', gpus(7000))],
      'start_worker c',
    ],
    [
      'the asked-for GPU counts alone',
      { backend: 'cuda', device: 0 },
      [node('a', gpus(4000, 9000)), node('b', gpus(5000, 5500))],
      'start_worker b',
    ],
    [
      'a GPU with room for the model, although another node has the file',
      { backend: 'cuda' },
      [node('a', { ...gpus(500, 599), models: [model(500)] }), node('b', gpus(600))],
      'start_worker b',
    ],
    [
      'the asked-for GPU has to have the room',
      { backend: 'cuda', device: 0 },
      [node('a', { ...gpus(500, 9000), models: [model(500)] }), node('b', gpus(600))],
      'start_worker b',
    ],
    [
      'the node with the file, where a GPU has room for it',
      { backend: 'cuda' },
      [node('a', { ...gpus(500, 600), models: [model(500)] }), node('b', gpus(9000))],
      'start_worker a',
    ],
    [
      'a node with the backend although its hive is away',
      { backend: 'cuda' },
      [node('localhost', { link: 'local' }), node('b', { ...away, backends: gpus(1).backends ?? [] })],
      'start_hive b',
    ],
    [
      'nothing goes to a node in trouble',
      {},
      [node('a', { trouble: 'away', workers: [worker('w')] }), node('b')],
      'start_worker b',
    ],
    [
      'a node in trouble is used when it is asked for',
      { node: 'a' },
      [node('a', { ...away, trouble: 'away' }), node('b')],
      'start_hive a',
    ],
    ['every node in trouble', {}, [node('a', { trouble: 'away' }), node('b', { trouble: 'away' })], 'NO_NODE_FITS'],
    ['a single node in trouble is asked itself', {}, [node('a', { ...away, trouble: 'away' })], 'start_hive a'],
    [
      'a node that failed the task is left out',
      { excludedNodes: new Map([['a', 'full']]) },
      [node('a'), node('b')],
      'start_worker b',
    ],
    ['the last node that failed the task', { excludedNodes: new Map([['a', 'full']]) }, [node('a')], 'NO_NODE_FITS'],
    ['a single node is asked itself', { backend: 'metal' }, [node('a')], 'start_worker a'],
    ['an unknown node', { node: 'c' }, [node('a')], 'NODE_NOT_FOUND'],
    ['no node at all', {}, [], 'NO_NODE_FITS'],
    ['no node fits', { backend: 'metal' }, [node('a'), node('b')], 'NO_NODE_FITS'],
  ];
  it.each(table)('%s', (_what, fields, nodes, expected) => {
    expect(short(placeTask({ ...wanted, ...fields }, nodes))).toBe(expected);
  });

  it('says of a node how much of its disk is missing for a model that another one has', () => {
    const nodes = [node('a', { resources: ram(9000, 400) }), node('b', { models: [model(500)], trouble: 'away' })];
    expect(placeTask(wanted, nodes)).toMatchObject({
      error: {
        details: {
          nodes: [
            { node: 'a', reason: 'it has 400 MB of disk free, 500 MB are needed' },
            { node: 'b', reason: 'away' },
          ],
        },
      },
    });
  });

  it('says how many slots a task waits for', () => {
    const reasons = (...workers: WorkerView[]) => {
      const placement = placeTask(wanted, [node('a', { workers })]);
      return placement.action === 'wait' && [placement.reason, placement.workers];
    };
    const busy = (slots_total: number) => worker('w', { state: 'busy', slots_total, inFlight: slots_total });
    const ill = worker('i', { state: 'unhealthy' });
    expect(reasons(busy(1))).toEqual(['the only slot of the worker is in use', [{ id: 'w', slots: 1, busy: 1 }]]);
    expect(reasons(busy(2), busy(4), ill)).toEqual([
      'all 6 slots of 2 workers are in use',
      [
        { id: 'w', slots: 2, busy: 2 },
        { id: 'w', slots: 4, busy: 4 },
        { id: 'i', slots: 0, busy: 0 },
      ],
    ]);
    expect(reasons(ill)).toEqual(['the worker does not answer its health checks', [{ id: 'i', slots: 0, busy: 0 }]]);
  });

  it('says why no other node can go on with an answer', () => {
    const models = [{ ...model(1), digest: 'd2' }];
    const placement = placeTask({ ...wanted, digest: 'd1' }, [node('a', { models }), node('b')]);
    expect(placement).toMatchObject({
      error: {
        code: 'NO_NODE_FITS',
        details: {
          nodes: [
            { node: 'a', reason: 'its model of that name has another digest' },
            { node: 'b', reason: 'it does not have the model that the answer began with' },
          ],
        },
      },
    });
  });

  it('says of every node why it does not fit', () => {
    const models = [model(5000)];
    const cuda = [{ name: 'cuda' as const, available: true, devices: 2 }];
    const placement = placeTask({ ...wanted, backend: 'cuda', device: 2 }, [
      node('a'),
      node('b', { backends: cuda }),
      node('c', {
        backends: [{ ...cuda[0], name: 'cuda', available: true, devices: 4 }],
        models,
        resources: ram(5999),
      }),
    ]);
    expect(placement).toMatchObject({ action: 'refuse' });
    if (placement.action !== 'refuse') return;
    expect(placement.error.details.nodes).toEqual([
      { node: 'a', reason: 'it has no cuda, only cpu' },
      { node: 'b', reason: 'it has no cuda device 2, only 2 of them' },
      { node: 'c', reason: 'it has 5999 MB free, 6000 MB are needed' },
    ]);
  });

  it('says of nodes that are left out why', () => {
    const nodes = [node('a', { trouble: 'it does not answer' }), node('b')];
    const placement = placeTask({ ...wanted, excludedNodes: new Map([['b', 'its disk is full']]) }, nodes);
    if (placement.action !== 'refuse') throw new Error('the task was placed');
    expect(placement.error.details.nodes).toEqual([
      { node: 'a', reason: 'it does not answer' },
      { node: 'b', reason: 'its disk is full' },
    ]);
  });

  it('takes memory that is exactly enough', () => {
    const models = [model(5000)];
    const nodes = [node('a', { models, resources: ram(6000) }), node('b', { models, resources: ram(5999) })];
    expect(short(placeTask(wanted, nodes))).toBe('start_worker a');
  });

  it('offers the command that adds an unknown node', () => {
    const placement = placeTask({ ...wanted, node: 'workstation' }, [node('localhost')]);
    expect(placement).toMatchObject({
      error: {
        code: 'NODE_NOT_FOUND',
        suggestion: expect.stringContaining('setup add-node --name workstation --ssh-host'),
      },
    });
  });

  it('places a task among 1,000 nodes in less than 5 ms', () => {
    const nodes = Array.from({ length: 1_000 }, (_, index) =>
      node(`n${index}`, {
        workers: [worker(`w${index}`, { model_ref: 'hf:org/n' }), worker(`x${index}`, { inFlight: 4 })],
      }),
    );
    for (let warmUp = 0; warmUp < 20; warmUp++) placeTask(wanted, nodes);
    const runs = Array.from({ length: 20 }, () => {
      const before = performance.now();
      placeTask(wanted, nodes);
      return performance.now() - before;
    });
    expect(Math.min(...runs)).toBeLessThan(5);
  });
});
