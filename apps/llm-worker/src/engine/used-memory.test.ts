import { describe, expect, it } from '@jest/globals';
import { readBufferLines } from './buffer-line.js';
import { toUsedMemory } from './used-memory.js';

const MIB = 1024 * 1024;
const LOG = `llama_context: n_ctx                 = 4096
llama_context:        CPU  output buffer size =     0.50 MiB
llama_kv_cache:        CPU KV buffer size =    12.00 MiB
llama_memory_recurrent:        CPU RS buffer size =     1.25 MiB
sched_reserve:        CPU compute buffer size =    21.01 MiB`;

describe('readBufferLines', () => {
  it('finds the buffers in what the engine logs', () => {
    expect(readBufferLines(LOG)).toEqual([
      { kind: 'output', bytes: 0.5 * MIB },
      { kind: 'KV', bytes: 12 * MIB },
      { kind: 'RS', bytes: 1.25 * MIB },
      { kind: 'compute', bytes: Math.round(21.01 * MIB) },
    ]);
  });

  it('finds none in other lines', () => {
    expect(readBufferLines('llama_kv_cache: size =   12.00 MiB (  1024 cells,   6 layers,  4/4 seqs)')).toEqual([]);
  });
});

describe('toUsedMemory', () => {
  const facts = {
    model: { ram: 5 * MIB, vram: 100 * MIB },
    context: { ram: 4 * MIB, vram: 30 * MIB },
    contextSize: 1024,
    slots: 4,
  };

  it('tells the caches apart from the other buffers, and adds the output', () => {
    expect(toUsedMemory({ ...facts, buffers: readBufferLines(LOG) })).toEqual({
      weights_bytes: 105 * MIB,
      kv_cache_bytes: 13.25 * MIB,
      compute_bytes: (34 - 13.25 + 0.5) * MIB,
      total_bytes: (105 + 34 + 0.5) * MIB,
      context_size: 1024,
      slots: 4,
    });
  });

  it('has no figures without the lines of the log, or with lines that cannot be right', () => {
    expect(toUsedMemory({ ...facts, buffers: [] })).toBeUndefined();
    expect(toUsedMemory({ ...facts, buffers: [{ kind: 'KV', bytes: 35 * MIB }] })).toBeUndefined();
  });
});
