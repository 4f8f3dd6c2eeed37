import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ERROR_CATALOGUE, type ErrorCode, factsOf } from './error-catalogue.js';
import { errorEnvelopeSchema, fromErrorEnvelope } from './error-envelope.js';
import { fromErrorEvent, toErrorEvent } from './error-event.js';
import { errorEventSchema } from './inference.js';
import { isRbeeError, RbeeError, toErrorEnvelope, toRbeeError } from './rbee-error.js';

const anyError = fc
  .record({
    code: fc.constantFrom(...(Object.keys(ERROR_CATALOGUE) as ErrorCode[])),
    message: fc.string(),
    details: fc.dictionary(
      fc.string().filter((key) => key !== 'suggestion' && key !== '__proto__'),
      fc.jsonValue(),
    ),
    suggestion: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    retryable: fc.option(fc.boolean(), { nil: undefined }),
    correlationId: fc.option(fc.uuid(), { nil: undefined }),
  })
  .map(
    ({ code, message, details, suggestion, retryable, correlationId }) =>
      new RbeeError(code, message, {
        details,
        ...(suggestion === undefined ? {} : { suggestion }),
        ...(retryable === undefined ? {} : { retryable }),
        ...(correlationId === undefined ? {} : { correlationId }),
      }),
  );

/** What must survive the wire; JSON has no negative zero. */
function facts({ code, message, details, suggestion, retryable, correlationId }: RbeeError) {
  return JSON.parse(JSON.stringify({ code, message, details, suggestion, retryable, correlationId }));
}

const overTheWire = (value: unknown) => JSON.parse(JSON.stringify(value));

describe('an envelope', () => {
  it('brings any error to the other side', () => {
    fc.assert(
      fc.property(anyError, (error) => {
        const read = fromErrorEnvelope(overTheWire(toErrorEnvelope(error, 'fallback')));
        expect(facts(read as RbeeError)).toEqual({ ...facts(error), correlationId: error.correlationId ?? 'fallback' });
      }),
    );
  });

  it('has code, message, details, retryable and correlation id, and the aliases of its code', () => {
    const error = new RbeeError('VRAM_EXHAUSTED', 'VRAM too small: need 6000 MB, have 4000 MB', {
      details: { required: 6000, available: 4000 },
      suggestion: 'use a smaller quantization',
    });
    expect(overTheWire(toErrorEnvelope(error, 'c-1'))).toEqual({
      error: {
        code: 'VRAM_EXHAUSTED',
        message: 'VRAM too small: need 6000 MB, have 4000 MB',
        details: { required: 6000, available: 4000, suggestion: 'use a smaller quantization' },
        retryable: false,
        correlation_id: 'c-1',
        aliases: ['GPU_VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'],
      },
    });
    expect(toErrorEnvelope(new RbeeError('NOT_FOUND', 'no'), 'c').error).not.toHaveProperty('aliases');
    expect(errorEnvelopeSchema.safeParse(toErrorEnvelope(error, 'c-1')).success).toBe(true);
  });

  it('is read with an older name of a code, with nulls, and with fields that are not known', () => {
    const body = {
      code: 'WORKER_FAILED',
      message: 'gone',
      details: null,
      retryable: null,
      correlation_id: null,
      more: 1,
    };
    const error = fromErrorEnvelope({ error: body, also: true });
    expect(error).toMatchObject({ code: 'WORKER_CRASHED', message: 'gone', details: {}, retryable: true });
    expect(error?.correlationId).toBeUndefined();
  });

  it.each([
    null,
    'text',
    {},
    { error: 'text' },
    { error: { code: 'X', message: 'm' } },
    { error: { code: 5, message: 'm' } },
    [],
  ])('is none: %j', (body) => expect(fromErrorEnvelope(body)).toBeUndefined());
});

describe('an error event', () => {
  it('brings any error to the other side', () => {
    fc.assert(
      fc.property(anyError, (error) => {
        const event = errorEventSchema.parse(overTheWire(toErrorEvent(error, 'fallback')));
        expect(event.status).toBe(factsOf(error.code).status ?? 500);
        const expected = { ...facts(error), correlationId: error.correlationId ?? 'fallback' };
        expect(facts(fromErrorEvent(event))).toEqual(expected);
      }),
    );
  });

  it('with an older name is read as the current code', () => {
    const event = errorEventSchema.parse({
      type: 'error',
      code: 'REQUEST_CANCELED',
      message: 'stopped',
      status: 499,
      retryable: false,
    });
    expect(fromErrorEvent(event).code).toBe('CANCELLED');
  });

  it('with an unknown code is an answer that cannot be understood, and still tells what was said', () => {
    const event = {
      type: 'error',
      code: 'NEW_CODE',
      message: 'because',
      details: {},
      status: 500,
      retryable: false,
    } as const;
    const error = fromErrorEvent({ ...event, correlation_id: undefined });
    expect(error.code).toBe('INVALID_RESPONSE');
    expect(error.message).toContain('NEW_CODE');
    expect(error.message).toContain('because');
  });
});

describe('any thrown value', () => {
  it.each([new Error('secret path /root'), 'text', undefined, null, 5, { code: 'NOT_FOUND', name: 'RbeeError' }])(
    'that was not foreseen tells nothing to the outside: %p',
    (value) => {
      const error = toRbeeError(value);
      expect(error.code).toBe('INTERNAL_ERROR');
      expect(error.cause).toBe(value);
      expect(JSON.stringify(toErrorEnvelope(error, 'c'))).not.toContain('/root');
    },
  );

  it('that is an rbee error stays itself, also when another bundle made it', () => {
    const own = new RbeeError('NOT_FOUND', 'no');
    const foreign = Object.assign(new Error('no'), { name: 'RbeeError', code: 'NOT_FOUND', details: {} });
    expect(toRbeeError(own)).toBe(own);
    expect(toRbeeError(foreign)).toBe(foreign);
    expect(isRbeeError(Object.assign(new Error('x'), { name: 'RbeeError', code: 'ENOENT' }))).toBe(false);
    expect(isRbeeError(Object.assign(new Error('x'), { name: 'RbeeError' }))).toBe(false);
  });

  it('keeps cause and status, and lets the situation decide about repeating', () => {
    const cause = new Error('below');
    const error = new RbeeError('WORKER_CRASHED', 'gone', { cause, retryable: false });
    expect(error).toMatchObject({ name: 'RbeeError', cause, retryable: false, status: 500 });
    expect(new RbeeError('CONFIG_INVALID', 'bad').status).toBe(500);
    expect('cause' in new RbeeError('NOT_FOUND', 'no')).toBe(false);
  });
});
