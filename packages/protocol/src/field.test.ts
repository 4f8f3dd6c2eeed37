import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { acceptAliases, optional, parseInput, rejectWith, withDefault } from './field.js';

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
});
