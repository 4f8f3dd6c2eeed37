import { describe, expect, it } from '@jest/globals';
import { downloadProgressSchema, downloadRequestSchema, importRequestSchema } from './download.js';
import { parseInput } from './field.js';
import { hiveRoutes } from './hive-routes.js';

const DIGEST = 'a'.repeat(64);
const FILE = { name: 'm-00001-of-00002.gguf', size_bytes: 10, digest: DIGEST };

describe('a request for a download', () => {
  it.each([{ model_ref: 'hf:o/r' }, { model: 'hf:o/r' }])('may be %j', (body) => {
    expect(parseInput(downloadRequestSchema, body, 'the request')).toEqual({ model_ref: 'hf:o/r' });
  });

  it('needs a model', () => {
    expect(() => parseInput(downloadRequestSchema, {}, 'the request')).toThrow(/model_ref/);
  });
});

describe('a request to take in a model', () => {
  const parse = (body: object) => parseInput(importRequestSchema, body, 'the request');

  it('names files with size and digest', () => {
    const body = { model_ref: 'hf:o/r:Q4_K_M', files: [FILE] };
    expect(parse(body)).toEqual(body);
  });

  it.each([
    '../m.gguf',
    'folder/m.gguf',
    '/m.gguf',
    '.gguf',
    '.hidden.gguf',
    'm.bin',
    'm\0.gguf',
    'm.gguf\n',
    `${'m'.repeat(300)}.gguf`,
  ])('refuses the file name %j', (name) => {
    expect(() => parse({ model_ref: 'hf:o/r:Q4_K_M', files: [{ ...FILE, name }] })).toThrow(/files.0.name/);
  });

  it.each([
    ['no files', { files: [] }],
    ['a digest of another kind', { files: [{ ...FILE, digest: 'abc' }] }],
    ['a digest in capitals', { files: [{ ...FILE, digest: DIGEST.toUpperCase() }] }],
    ['an empty file', { files: [{ ...FILE, size_bytes: 0 }] }],
    ['no model', { model_ref: undefined, files: [FILE] }],
  ])('refuses %s', (_what, body) => {
    expect(() => parse({ model_ref: 'hf:o/r:Q4_K_M', ...body })).toThrow();
  });
});

describe('the progress of a download', () => {
  it.each([
    { stage: 'waiting', position: 1 },
    { stage: 'downloading', bytes_downloaded: 1, bytes_total: 2, speed_mbps: 3.5, source: 'hub' },
    { stage: 'downloading', bytes_downloaded: 1, bytes_total: 2, speed_mbps: 3, eta_seconds: 1, source: 'node' },
    { stage: 'retrying', attempt: 2, max_attempts: 6, delay_ms: 100, reason: 'the connection broke' },
    { stage: 'verifying' },
    { stage: 'complete', local_path: '/m.gguf' },
    { stage: 'error', code: 'DOWNLOAD_FAILED', message: 'no' },
  ])('may be %j', (event) => expect(downloadProgressSchema.parse(event)).toEqual(event));
});

describe('the routes of models', () => {
  it.each(['..', 'a/b', 'a b', '', 'x'.repeat(201), 'a\nb'])('refuse the id %j', (id) => {
    expect(hiveRoutes.removeModel.params.safeParse({ id }).success).toBe(false);
  });

  it.each(['', '-1', '1.5', 'x', '1000', '0x1', '1e1', ' 1'])('refuse the number of a file %j', (index) => {
    expect(hiveRoutes.readModelFile.params.safeParse({ id: 'm', index }).success).toBe(false);
  });

  it.each(['', '-1', '0x10', '1e3', '9007199254740993'])('refuse the offset %j', (offset) => {
    expect(hiveRoutes.writeModelFile.query.safeParse({ offset }).success).toBe(false);
  });

  it('tell why an id is refused', () => {
    const refuse = (id: string) => () => parseInput(hiveRoutes.removeModel.params, { id }, 'the path');
    for (const [id, reason] of [
      ['..', 'path_traversal'],
      ['/etc/passwd', 'absolute_path'],
      ['a\nb', 'newline'],
      ['x'.repeat(201), 'too_long'],
    ] as const)
      expect(refuse(id)).toThrow(expect.objectContaining({ details: expect.objectContaining({ reason }) }));
  });
});
