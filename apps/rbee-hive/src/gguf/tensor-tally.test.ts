import { describe, expect, it } from '@jest/globals';
import { addSums, TensorTally } from './tensor-tally.js';

const [F32, Q8_0, Q4_K, Q6_K] = [0, 8, 12, 14] as const;

function tally(tensors: readonly [name: string, dimensions: number[], type: number, bytes: number][]) {
  const sums = new TensorTally();
  let offset = 64;
  for (const [name, dimensions, type, bytes] of tensors) {
    sums.add({ name, dimensions, type }, offset, bytes);
    offset += bytes;
  }
  return sums;
}

describe('TensorTally', () => {
  it('tells what is used as it lies in the file from what is copied, by processor', () => {
    const { sums, end } = tally([
      ['token_embd.weight', [256, 100], Q4_K, 10],
      ['blk.0.attn_norm.weight', [256], F32, 1],
      ['blk.0.attn_q.weight', [256, 256], Q4_K, 100],
      ['blk.0.attn_v.weight', [256, 256], Q6_K, 200],
      ['output.weight', [256, 256], Q8_0, 1000],
    ]);
    expect(end).toBe(64 + 1311);
    expect(sums).toMatchObject({
      spanBytes: 1311,
      // Between the copied ones nothing is left out; behind them it is.
      mappedBytes: { x64: 1311, arm64: 11 },
      repackedBytes: { x64: 100, arm64: 1300 },
      tokenEmbeddingBytes: 10,
      hasOutput: true,
    });
  });

  it.each([
    ['rows that are no multiple of eight', [256, 100], 'blk.0.attn_q.weight'],
    ['a vector', [256], 'blk.0.attn_q.weight'],
    ['a bias', [256, 256], 'blk.0.attn_q.bias'],
    ['a table of embeddings', [256, 256], 'per_layer_token_embd.weight'],
    ['one matrix where experts belong', [256, 256], 'blk.0.ffn_up_exps.weight'],
  ])('does not copy %s', (_what, dimensions, name) => {
    expect(tally([[name, dimensions, Q4_K, 100]]).sums.repackedBytes.x64).toBe(0);
  });

  it('copies experts', () => {
    expect(tally([['blk.0.ffn_up_exps.weight', [256, 256, 8], Q4_K, 100]]).sums.repackedBytes.x64).toBe(100);
  });

  it('keeps apart what the embeddings add when they are the output', () => {
    const { sums } = tally([['token_embd.weight', [256, 256], Q4_K, 10]]);
    expect(sums).toMatchObject({
      hasOutput: false,
      repackedBytes: { x64: 0 },
      tiedRepackedBytes: { x64: 10, arm64: 10 },
    });
  });

  it('adds up files', () => {
    const first = tally([['token_embd.weight', [256, 256], Q4_K, 10]]).sums;
    const second = tally([['output.weight', [256, 256], Q4_K, 20]]).sums;
    expect(addSums(first, second)).toEqual({
      spanBytes: 30,
      mappedBytes: { x64: 10, arm64: 10 },
      repackedBytes: { x64: 20, arm64: 20 },
      tiedRepackedBytes: { x64: 10, arm64: 10 },
      tokenEmbeddingBytes: 10,
      hasOutput: true,
    });
  });

  it('of nothing is nothing', () => {
    expect(new TensorTally().sums).toMatchObject({ spanBytes: 0, mappedBytes: { x64: 0, arm64: 0 } });
  });
});
