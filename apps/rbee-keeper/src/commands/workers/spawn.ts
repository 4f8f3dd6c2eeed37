import { defineCommand } from '../../command.js';
import { taskOptions } from '../../inference/task-options.js';

const { node, model, backend, device, 'keep-alive': keepAlive } = taskOptions;

export const workersSpawnCommand = defineCommand({
  options: {
    node,
    model,
    backend,
    device,
    slots: { type: 'number', describe: 'Answers that it generates at a time; left out: as its node is configured' },
    ctx: {
      type: 'number',
      describe: 'Tokens of one answer with its prompt; left out: as the model allows, 4096 at most',
    },
    pin: { type: 'boolean', describe: 'Keep it loaded: it does not end when idle, nor to make room for others' },
    'keep-alive': keepAlive,
  },
  examples: [
    ['rbee-keeper workers spawn', 'The model that comes with rbee, ready before the first question'],
    ['rbee-keeper workers spawn --node workstation --model hf:ORG/REPO --pin', 'One that stays on another machine'],
    ['rbee-keeper workers spawn --backend cuda --device 1 --slots 8 --ctx 8192', 'One GPU, eight answers at a time'],
  ],
  notes:
    'It is one more worker, whatever runs already. It lives as long as its queen and hive do: start a queen that stays with rbee-keeper queen start, or give --keep-alive. Ctrl+C stops the wait; a worker whose process has started goes on.',
  async run(options, context) {
    const { checkRequest } = await import('../../check-request.js');
    const { toModelRef } = await import('../../inference/model-argument.js');
    const { BUNDLED_MODEL_REF } = await import('@rbee/protocol');
    const isRemote = options.node !== undefined && options.node !== 'localhost';
    const request = {
      node: options.node,
      model: options.model === undefined ? BUNDLED_MODEL_REF : toModelRef(options.model, context.env, isRemote),
      backend: options.backend,
      device: options.device,
      slots_total: options.slots,
      context_size: options.ctx,
      pinned: options.pin,
    };
    checkRequest('spawnWorker', request, { slots_total: '--slots', context_size: '--ctx' });
    const { spawnWorker } = await import('../../workers/spawn-worker.js');
    await context.withQueen((queen) => spawnWorker(queen, request, context));
    return 0;
  },
});
