import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { z } from 'zod';
import { parseInput } from './field.js';
import {
  backendSchema,
  correlationIdSchema,
  deviceSchema,
  jobIdSchema,
  nodeNameSchema,
  portSchema,
  workerIdSchema,
} from './identifiers.js';
import { modelRefSchema } from './model-ref.js';
import { isRbeeError, type RbeeError } from './rbee-error.js';

/** The error for a refused value; fails when the value is accepted. */
function refuse(schema: z.ZodType, value: unknown): RbeeError {
  try {
    parseInput(schema, value, 'the value');
  } catch (error) {
    if (isRbeeError(error)) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(value)} was accepted`);
}

const accepts = (schema: z.ZodType, value: unknown) => expect(parseInput(schema, value, 'the value')).toBe(value);

describe('a node name', () => {
  it.each([
    'localhost',
    'workstation',
    'blep.home.arpa',
    'a',
    'A-1',
    '10.0.0.5',
    'x'.repeat(63),
    `${'a'.repeat(31)}.${'b'.repeat(32)}`,
  ])('may be %s', (name) => accepts(nodeNameSchema, name));

  it.each([
    ['', 'special_characters'],
    ['user@host', 'special_characters'],
    ['-a', 'special_characters'],
    ['a-', 'special_characters'],
    ['a.-b', 'special_characters'],
    ['a..b', 'special_characters'],
    ['.a', 'special_characters'],
    ['a.', 'special_characters'],
    ['a_b', 'special_characters'],
    ['a b', 'special_characters'],
    ['x'.repeat(64), 'special_characters'],
    ['x'.repeat(65), 'too_long'],
    ['a\nb', 'newline'],
    ['a\r', 'newline'],
    ['a\n', 'newline'],
    ['a\0b', 'null_byte'],
    ['\u001b[31mred', 'ansi_escape'],
    ['caf\u00e9', 'non_ascii'],
    ['zero\u200bwidth', 'non_ascii'],
    ['tab\tname', 'special_characters'],
    ['bell\u0007', 'special_characters'],
    ['<b>', 'html'],
    ['../etc', 'path_traversal'],
    ['/etc/passwd', 'absolute_path'],
    ['a;reboot', 'shell_metacharacters'],
    ['$(id)', 'shell_metacharacters'],
  ])('may not be %j: %s', (name, reason) => {
    expect(refuse(nodeNameSchema, name)).toMatchObject({ code: 'INVALID_NODE_NAME', status: 400, details: { reason } });
  });
});

describe('a worker id', () => {
  it.each(['worker-6f1c0c1e-1234-4567-89ab-123456789abc', 'a', '-', 'W9', 'x'.repeat(64)])('may be %s', (id) =>
    accepts(workerIdSchema, id),
  );

  it.each([
    ['', 'special_characters'],
    ['worker_1', 'special_characters'],
    ['worker 1', 'special_characters'],
    ['worker.1', 'special_characters'],
    ['x'.repeat(65), 'too_long'],
    ['`id`', 'shell_metacharacters'],
    ['a|b', 'shell_metacharacters'],
    ['a&&b', 'shell_metacharacters'],
    ["a'b", 'shell_metacharacters'],
    ['..', 'path_traversal'],
    ['a/../b', 'path_traversal'],
    ['/a', 'absolute_path'],
    ['a\u001b[0m', 'ansi_escape'],
    ['a\n{"level":"info"}', 'newline'],
    ['a\0', 'null_byte'],
    ['ä', 'non_ascii'],
    ['<script>', 'html'],
  ])('may not be %j: %s', (id, reason) => {
    expect(refuse(workerIdSchema, id)).toMatchObject({ code: 'INVALID_WORKER_ID', status: 400, details: { reason } });
  });
});

describe('a backend', () => {
  it.each(['cpu', 'cuda', 'metal', 'vulkan'])('may be %s', (backend) => accepts(backendSchema, backend));

  it.each([
    ['', 'unknown_backend'],
    ['CUDA', 'unknown_backend'],
    ['rocm', 'unknown_backend'],
    ['cpu ', 'unknown_backend'],
    ['cpu;ls', 'shell_metacharacters'],
    ['cpu\n', 'newline'],
  ])('may not be %j: %s', (backend, reason) => {
    const error = refuse(backendSchema, backend);
    expect(error).toMatchObject({ code: 'INVALID_BACKEND', status: 400, details: { reason } });
    for (const name of ['cpu', 'cuda', 'metal', 'vulkan']) expect(error.message).toContain(name);
  });
});

describe('a device', () => {
  it.each([0, 1, 15])('may be %d', (device) => accepts(deviceSchema, device));

  it.each([-1, 0.5])('may not be %d', (device) => {
    expect(refuse(deviceSchema, device)).toMatchObject({
      code: 'INVALID_DEVICE',
      details: { reason: 'not_a_device_index' },
    });
  });

  it.each(['0', null, Number.NaN, Number.POSITIVE_INFINITY, [0]])('of another type is a bad request: %p', (device) => {
    expect(refuse(deviceSchema, device).code).toBe('INVALID_REQUEST');
  });
});

describe('a job id and a correlation id', () => {
  it.each(['job-1', 'A_b-9', 'x'.repeat(64)])('may be %s', (id) => {
    accepts(jobIdSchema, id);
    accepts(correlationIdSchema, id);
  });

  it.each([
    ['', 'special_characters'],
    ['x'.repeat(65), 'too_long'],
    ['a b', 'special_characters'],
    ['a.b', 'special_characters'],
    ['a\n', 'newline'],
    ['a\u001b[31m', 'ansi_escape'],
    ['a;b', 'shell_metacharacters'],
    ['ä', 'non_ascii'],
    ['../a', 'path_traversal'],
  ])('may not be %j: %s', (id, reason) => {
    expect(refuse(jobIdSchema, id)).toMatchObject({ code: 'INVALID_REQUEST', details: { reason } });
  });
});

it.each([
  [1023, false],
  [1024, true],
  [65535, true],
  [65536, false],
  [8080.5, false],
])('port %d is allowed: %s', (port, allowed) => expect(portSchema.safeParse(port).success).toBe(allowed));

describe('a refused value', () => {
  const schemas = {
    node: nodeNameSchema,
    worker: workerIdSchema,
    backend: backendSchema,
    job: jobIdSchema,
    model: modelRefSchema,
  };

  it('is never echoed, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(schemas)),
        fc.oneof(fc.string({ unit: 'binary' }), fc.string()).map((text) => `\u001bQ7X${text}Z9`),
        (schema, value) => {
          const error = refuse(schema, value);
          expect(JSON.stringify([error.message, error.details])).not.toContain('Q7X');
        },
      ),
    );
  });

  it('has a reason out of the published ones', () => {
    const reasons =
      /^(newline|ansi_escape|null_byte|non_ascii|special_characters|html|path_traversal|absolute_path|shell_metacharacters|too_long)$/;
    fc.assert(
      fc.property(
        fc.constantFrom(nodeNameSchema, workerIdSchema, modelRefSchema),
        fc.string({ unit: 'binary' }),
        (schema, value) => {
          if (schema.safeParse(value).success) return;
          expect(refuse(schema, value).details.reason).toMatch(reasons);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('costs no more for a megabyte than for a line', () => {
    const long = '-a.'.repeat(400_000);
    const started = performance.now();
    for (const schema of Object.values(schemas)) refuse(schema, long);
    expect(performance.now() - started).toBeLessThan(500);
  });
});
