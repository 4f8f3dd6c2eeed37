import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { acceptAliases, checkTogether, optional, parseInput, rejectWith, withDefault } from './field.js';
import type { RbeeError } from './rbee-error.js';

describe('an optional field', () => {
  const schema = z.object({ a: optional(z.number()), b: withDefault(z.number(), 7) });

  it.each([{}, { a: null, b: null }, { a: undefined, b: undefined }])('is missing: %j', (input) => {
    const { a, b } = schema.parse(input);
    expect([a, b]).toEqual([undefined, 7]);
  });

  it('keeps values that are falsy', () => expect(schema.parse({ a: 0, b: 0 })).toEqual({ a: 0, b: 0 }));
  it('still checks what is given', () => expect(schema.safeParse({ a: 'x' }).success).toBe(false));
});

describe('older names', () => {
  const schema = acceptAliases({ old: 'current' }, z.looseObject({ current: z.string() }));

  it('are read, and leave nothing behind', () => expect(schema.parse({ old: 'a' })).toEqual({ current: 'a' }));
  it('yield to the current name', () => expect(schema.parse({ old: 'a', current: 'b' })).toEqual({ current: 'b' }));
  it('do not change the input', () => {
    const input = { old: 'a' } as unknown as { current: string };
    schema.parse(input);
    expect(input).toEqual({ old: 'a' });
  });
  it('cannot reach the prototype', () => {
    schema.parse(JSON.parse('{"__proto__":{"polluted":1},"current":"a"}'));
    expect({}).not.toHaveProperty('polluted');
  });
});

describe('fields that are checked together', () => {
  const schema = checkTogether(z.object({ a: optional(z.string()), b: optional(z.string()) }), (body, refuse) => {
    if (body.a == null && body.b == null) refuse('a', 'give one of a and b');
  });
  const faults = (input: unknown) => schema.safeParse(input).error?.issues.map(({ path }) => path.join('.'));

  it('are what each of them is', () => expect(schema.parse({ a: 'x', b: null })).toEqual({ a: 'x' }));

  it.each([{}, { a: null }, { a: null, b: null }])('are refused together: %j', (input) => {
    expect(faults(input)).toEqual(['a']);
  });

  it('are reported beside the faults of single ones', () => expect(faults({ b: 7 })).toEqual(['b']));
  it.each([null, 'x', [], 7])('are not there in %j', (input) => expect(faults(input)).toEqual(['']));
});

describe('the error of a refused input', () => {
  const even = z
    .number()
    .superRefine(rejectWith('INVALID_DEVICE', 'must be even', (value: number) => (value % 2 ? 'odd' : undefined)));
  const read = (schema: z.ZodType, input: unknown) => {
    try {
      return parseInput(schema, input, 'the query');
    } catch (error) {
      return error;
    }
  };

  it('lists field, constraint and message', () => {
    expect(read(z.object({ a: z.object({ b: z.string() }), c: even }), { a: { b: 1 }, c: 3 })).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(/^the query is not valid: a\.b: .*; c: must be even$/),
      details: {
        errors: [
          { field: 'a.b', constraint: 'invalid_type' },
          { field: 'c', constraint: 'odd', message: 'must be even', reason: 'odd' },
        ],
      },
    });
  });

  it('has the specific code and reason when all faults have it', () => {
    expect(read(z.array(even), [1, 3])).toMatchObject({ code: 'INVALID_DEVICE', details: { reason: 'odd' } });
  });

  it('names no field that the caller has made up', () => {
    const cpus = z.record(
      z
        .string()
        .superRefine(rejectWith('INVALID_BACKEND', 'must be cpu', (text) => (text === 'cpu' ? undefined : 'odd'))),
      z.number(),
    );
    const faults = (input: unknown) => (read(z.object({ cpus }), { cpus: input }) as RbeeError).details.errors;
    expect(faults({ secret: 1 })).toEqual([
      { field: 'cpus', constraint: 'odd', message: 'each key must be cpu', reason: 'odd' },
    ]);
    const open = z.record(z.string(), z.number());
    expect(read(open, { 'a b': 'x', [`${'a'.repeat(65)}`]: 'x' })).toMatchObject({
      details: { errors: [{ field: '*' }, { field: '*' }] },
    });
  });

  it('tells of fifty faults, and how many there are beside them', () => {
    const error = read(z.array(even), Array(1_000).fill(1)) as RbeeError;
    expect(error.details.errors).toHaveLength(50);
    expect(error).toMatchObject({ code: 'INVALID_DEVICE', details: { omitted: 950, reason: 'odd' } });
    expect(error.message).toMatch(/; and 950 more$/);
    expect(read(z.array(even), Array(50).fill(1))).not.toMatchObject({ details: { omitted: expect.anything() } });
  });
});
