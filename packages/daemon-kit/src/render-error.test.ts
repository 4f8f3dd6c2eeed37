import { afterEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { memoryLog, openRaw, sendRaw, startSampleService, stopSampleServices } from './testing/sample-service.js';

afterEach(stopSampleServices);

describe('what a handler throws', () => {
  const failing = async (error: unknown) => {
    const { lines, log } = memoryLog();
    const fail = async () => {
      throw error;
    };
    const { url } = await startSampleService({ getItem: fail }, { log });
    return { answer: await sendRaw(`${url}/v1/items/a`, { headers: { 'X-Correlation-Id': 'c-1' } }), lines };
  };

  it('with a code is the envelope of that code', async () => {
    const error = new RbeeError('NODE_NOT_FOUND', 'node mac is not known', {
      details: { node: 'mac' },
      suggestion: 'rbee-keeper setup add-node',
    });
    const { answer } = await failing(error);
    expect(answer.status).toBe(404);
    expect(answer.json()).toEqual({
      error: {
        code: 'NODE_NOT_FOUND',
        message: 'node mac is not known',
        details: { node: 'mac', suggestion: 'rbee-keeper setup add-node' },
        retryable: false,
        correlation_id: 'c-1',
      },
    });
  });

  it('bears the id of its own request, also when it came up for another one; the log has both', async () => {
    const { answer, lines } = await failing(new RbeeError('MODEL_NOT_FOUND', 'no', { correlationId: 'c-other' }));
    expect(answer.headers['x-correlation-id']).toBe('c-1');
    expect(answer.json().error).toMatchObject({ correlation_id: 'c-1' });
    expect(lines.at(-1)).toMatchObject({ correlation_id: 'c-1', cause_correlation_id: 'c-other' });
  });

  it.each([
    new Error('ENOENT /root/secret'),
    'text',
    undefined,
    null,
    'route',
    { status: 404, type: 'x' },
    new URIError('own'),
  ])('without one is an internal error that tells nothing: %p', async (error) => {
    const { answer, lines } = await failing(error);
    expect(answer.status).toBe(500);
    expect(answer.json().error).toMatchObject({ code: 'INTERNAL_ERROR', correlation_id: 'c-1' });
    expect(answer.text).not.toContain('secret');
    const logged = lines.find(({ level }) => level === 'error');
    expect(logged).toMatchObject({ error_code: 'INTERNAL_ERROR', correlation_id: 'c-1' });
  });

  it('is logged with its stack when the service is at fault, without one when the caller is', async () => {
    const own = await failing(new RbeeError('MODEL_LOAD_FAILED', 'bad file'));
    expect(own.lines.at(-1)).toMatchObject({
      level: 'error',
      error_code: 'MODEL_LOAD_FAILED',
      error: { stack: expect.any(String) },
    });
    const theirs = await failing(new RbeeError('NOT_FOUND', 'no'));
    expect(theirs.lines.at(-1)).toMatchObject({ level: 'info', error_code: 'NOT_FOUND', status: 404 });
    expect(theirs.lines.at(-1)).not.toHaveProperty('error');
  });

  it('has details that are no JSON comes through without them', async () => {
    const { answer } = await failing(new RbeeError('NOT_FOUND', 'no', { details: { size: 1n } }));
    expect(answer.status).toBe(404);
    expect(answer.json().error).toMatchObject({ code: 'NOT_FOUND', details: {} });
  });

  it.each([
    [new RbeeError('ALL_SLOTS_BUSY', 'busy', { details: { slots_total: 4, slots_busy: 4 } }), '1'],
    [new RbeeError('QUEUE_FULL', 'full', { details: { retry_after_seconds: 7.2 } }), '8'],
    [new RbeeError('TOO_MANY_REQUESTS', 'slow down', { details: { retry_after_seconds: 'x\r\ny' } }), '1'],
    [new RbeeError('QUOTA_EXCEEDED', 'used up'), '1'],
    [new RbeeError('BACKEND_UNAVAILABLE', 'no cuda'), undefined],
    [new RbeeError('NOT_FOUND', 'no'), undefined],
  ])('says when to come back: %s', async (error, seconds) => {
    const { answer } = await failing(error);
    expect(answer.headers['retry-after']).toBe(seconds);
  });

  it('about slots has the figures also where older readers look', async () => {
    const { answer } = await failing(
      new RbeeError('ALL_SLOTS_BUSY', 'busy', { details: { slots_total: 4, slots_busy: 4 } }),
    );
    expect(answer.json().error).toMatchObject({
      slots_total: 4,
      slots_busy: 4,
      details: { slots_total: 4, slots_busy: 4 },
    });
  });

  it('goes out without the secrets that a program or a peer has put into it', async () => {
    const error = new RbeeError('DOWNLOAD_FAILED', 'the hub said: Authorization: Bearer s3cr3t-1 is not valid', {
      details: { last_output: ['git clone https://me:s3cr3t-2@host/repo'], token: 's3cr3t-3', max_tokens: 5 },
      suggestion: 'look at api_key=s3cr3t-4',
    });
    const { answer } = await failing(error);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('s3cr3t');
    expect(answer.json().error).toMatchObject({
      message: 'the hub said: Authorization: Bearer [REDACTED] is not valid',
      details: { last_output: ['git clone https://me:[REDACTED]@host/repo'], token: '[REDACTED]', max_tokens: 5 },
    });
  });

  it('goes out on a stream without secrets as well', async () => {
    const { url } = await startSampleService({
      generate: async (_call, stream) => {
        stream.open();
        throw new RbeeError('INFERENCE_FAILED', 'failed with password=s3cr3t-1', { details: { token: 's3cr3t-2' } });
      },
      progress: async (_call, stream) => {
        stream.open();
        throw new RbeeError('INFERENCE_FAILED', 'failed with password=s3cr3t-1');
      },
    });
    for (const answer of [
      await sendRaw(`${url}/v1/generate`, { method: 'POST', body: '{}' }),
      await sendRaw(`${url}/v1/progress`),
    ]) {
      expect(answer.text).toContain('failed with password=[REDACTED]');
      expect(answer.text).not.toContain('s3cr3t');
    }
  });

  it('behind the first text breaks the answer off', async () => {
    const { url } = await startSampleService({
      logs: async (_call, stream) => {
        stream.write('first\n');
        throw new RbeeError('INTERNAL_ERROR', 'no');
      },
    });
    const incoming = await openRaw(`${url}/v1/logs`);
    await expect(incoming.toArray()).rejects.toThrow('aborted');
  });
});
