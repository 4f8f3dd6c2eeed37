import { describe, expect, it } from '@jest/globals';
import { hiveOf } from '../testing/scripted-nodes.js';
import { renderHives } from './render-hives.js';

describe('renderHives', () => {
  it('says of a node that nothing is known of yet that it has not answered', () => {
    const lines = renderHives([hiveOf('attic', { status: 'unknown', hive: 'unknown' })]);
    expect(lines.slice(2)).toEqual(['  it has not answered yet']);
  });

  it('has a row for each node, and what does not fit into it below', () => {
    const gpu = { index: 1, name: 'Big GPU', backend: 'cuda' as const, vram_total_mb: 24_576, vram_free_mb: 20_480 };
    const lines = renderHives([
      hiveOf('attic', {
        status: 'unreachable',
        hive: 'unknown',
        version: undefined,
        reason: 'no SSH connection after 3 attempts\u001b[2J',
        ram_available_mb: undefined,
        ram_total_mb: undefined,
      }),
      hiveOf('localhost', { workers: 2, gpus: [gpu] }),
    ]);
    expect(lines).toEqual([
      'NODE       LINK   STATUS       HIVE     VERSION  WORKERS  FREE MEMORY',
      'attic      ssh    unreachable  unknown  -        -        -',
      '  no SSH connection after 3 attempts\ufffd[2J',
      'localhost  local  reachable    running  0.1.0    2        15.6 of 31.3 GB',
      '  cuda:1 Big GPU, 20.0 of 24.0 GB free',
    ]);
  });
});
