import { describe, expect, it } from '@jest/globals';
import { LayerFigures } from './layer-figures.js';
import { readAttentionGroups, readRecurrentElements } from './layer-memory.js';
import type { MetadataValue } from './metadata-values.js';

type Fields = Record<string, number | readonly number[]>;

function figures(architecture: string, fields: Fields): LayerFigures {
  const usual: Fields = { block_count: 4, embedding_length: 512, 'attention.head_count': 8 };
  const metadata = new Map<string, MetadataValue>();
  for (const [name, value] of Object.entries({ ...usual, ...fields })) {
    const kept = typeof value === 'number' ? value : { length: value.length, numbers: [...value] };
    metadata.set(`${architecture}.${name}`, kept);
  }
  return new LayerFigures(architecture, metadata);
}

const groups = (architecture: string, fields: Fields = {}) => readAttentionGroups(figures(architecture, fields));
const all = { layers: 4, keyWidth: 512, valueWidth: 512, window: null };

describe('readAttentionGroups', () => {
  it.each<[string, string, Fields, unknown]>([
    ['as many heads of keys as of queries', 'llama', {}, [all]],
    ['fewer heads of keys', 'llama', { 'attention.head_count_kv': 2 }, [{ ...all, keyWidth: 128, valueWidth: 128 }]],
    [
      'heads of another length',
      'qwen3',
      { 'attention.head_count_kv': 2, 'attention.key_length': 128, 'attention.value_length': 96 },
      [{ ...all, keyWidth: 256, valueWidth: 192 }],
    ],
    [
      'another number of heads in each layer',
      'openelm',
      { 'attention.head_count': [8, 8, 16, 16], 'attention.head_count_kv': [2, 2, 4, 4] },
      [{ ...all, keyWidth: 128, valueWidth: 128 }],
    ],
    ['a window that the architecture ignores', 'llama', { 'attention.sliding_window': 4096 }, [all]],
    [
      'a window in all layers but every sixth',
      'gemma3',
      { block_count: 13, 'attention.sliding_window': 512 },
      [
        { ...all, layers: 11, window: 512 },
        { ...all, layers: 2, window: null },
      ],
    ],
    [
      'a window in all layers but the first of four',
      'smallthinker',
      { 'attention.sliding_window': 512 },
      [
        { ...all, layers: 1 },
        { ...all, layers: 3, window: 512 },
      ],
    ],
    [
      'a window in the layers that the file lists, with heads of their own',
      'gemma4',
      {
        'attention.sliding_window': 512,
        'attention.sliding_window_pattern': [1, 1, 0, 1],
        'attention.key_length': 128,
        'attention.value_length': 128,
        'attention.key_length_swa': 64,
        'attention.value_length_swa': 64,
      },
      [
        { layers: 3, keyWidth: 512, valueWidth: 512, window: 512 },
        { layers: 1, keyWidth: 1024, valueWidth: 1024, window: null },
      ],
    ],
    ['layers that use the keys of others', 'gemma4', { 'attention.shared_kv_layers': 3 }, [{ ...all, layers: 1 }]],
    ['layers that only predict further tokens', 'glm4moe', { nextn_predict_layers: 1 }, [{ ...all, layers: 3 }]],
    [
      'latent attention, which keeps no values',
      'deepseek2',
      {
        'attention.head_count_kv': 1,
        'attention.key_length': 576,
        'attention.value_length': 512,
        'attention.key_length_mla': 192,
        'attention.value_length_mla': 128,
      },
      [{ ...all, keyWidth: 576, valueWidth: 0 }],
    ],
    ['no attention at all', 'mamba', { 'attention.head_count': 0 }, []],
    ['attention in some layers', 'jamba', { 'attention.head_count_kv': [0, 0, 8, 0] }, [{ ...all, layers: 1 }]],
    ['attention in every fourth layer', 'qwen3next', { block_count: 8 }, [{ ...all, layers: 2 }]],
  ])('knows %s', (_what, architecture, fields, expected) => {
    expect(groups(architecture, fields)).toEqual(expected);
  });
});

describe('readRecurrentElements', () => {
  const ssm = { 'ssm.conv_kernel': 4, 'ssm.inner_size': 1024, 'ssm.state_size': 16 };

  it.each<[string, string, Fields, number]>([
    ['nothing for attention', 'llama', {}, 0],
    ['nothing for fields that have no use', 'llama', ssm, 0],
    ['a convolution and a state in each layer', 'mamba', ssm, 4 * (3 * 1024 + 16 * 1024)],
    ['grouped states', 'mamba2', { ...ssm, 'ssm.group_count': 2 }, 4 * (3 * (1024 + 2 * 2 * 16) + 16 * 1024)],
    ['layers without attention', 'jamba', { ...ssm, 'attention.head_count_kv': [0, 0, 8, 0] }, 3 * 19 * 1024],
    ['layers with both', 'falcon-h1', { ...ssm, 'attention.head_count_kv': 2 }, 4 * 19 * 1024],
    ['all but every fourth layer', 'qwen3next', ssm, 3 * 19 * 1024],
    [
      'the last tokens of a short convolution',
      'lfm2',
      { 'shortconv.l_cache': 3, 'attention.head_count_kv': [0, 8, 8, 0] },
      2 * 1024,
    ],
    ['a matrix for each head', 'rwkv7', { 'wkv.head_size': 64 }, 4 * 512 * (2 + 64)],
    [
      'layers with neither attention nor feed-forward network',
      'nemotron_h',
      { ...ssm, 'attention.head_count_kv': [0, 0, 8, 0], feed_forward_length: [0, 2048, 0, 0] },
      2 * 19 * 1024,
    ],
  ])('counts %s', (_what, architecture, fields, elements) => {
    expect(readRecurrentElements(figures(architecture, fields))).toBe(elements);
  });
});
