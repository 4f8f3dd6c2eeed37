import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import type { LogLevel } from './log-level.js';
import { createLogger } from './logger.js';
import { Secret } from './secret-file.js';
import { silentLogger } from './silent-logger.js';

function capture(level: LogLevel = 'debug') {
  const lines: string[] = [];
  const log = createLogger({ service: 'rbee-hive', level, destinations: [{ write: (line) => void lines.push(line) }] });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '') as Record<string, unknown> };
}

describe('a log line', () => {
  it('is one line of JSON with time, level, service, message and fields', () => {
    const { log, lines, last } = capture();
    log.info({ worker_id: 'worker-1', n: 5 }, 'worker started');
    expect(lines[0]).toMatch(/^\{[^\n]*\}\n$/);
    expect(last()).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      service: 'rbee-hive',
      worker_id: 'worker-1',
      n: 5,
      msg: 'worker started',
    });
  });

  it('carries the fields of its logger', () => {
    const { log, last } = capture();
    log.with({ correlation_id: 'c-1' }).with({ job_id: 'j-1' }).warn({ more: true }, 'slow');
    expect(last()).toMatchObject({ level: 'warn', correlation_id: 'c-1', job_id: 'j-1', more: true });
  });

  it('has control characters escaped, so that none can be forged', () => {
    const { log, lines, last } = capture();
    const hostile = 'a\n{"level":"error"}\r\u001b[31m\0';
    log.info({ target: hostile }, hostile);
    expect(lines).toHaveLength(1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u001f]/);
    expect(last()).toMatchObject({ target: hostile, msg: hostile });
  });

  it('leaves percent signs alone', () => {
    const { log, last } = capture();
    log.info({}, '100 %s of %d, 50%');
    expect(last().msg).toBe('100 %s of %d, 50%');
  });

  it('goes to every destination, from its level on', () => {
    const lines: string[][] = [[], []];
    const destinations = lines.map((list) => ({ write: (line: string) => void list.push(line) }));
    const log = createLogger({ service: 's', level: 'warn', destinations });
    log.debug({}, 'a');
    log.info({}, 'b');
    log.warn({}, 'c');
    log.error({}, 'd');
    expect(lines.map((list) => list.map((line) => JSON.parse(line).msg))).toEqual([
      ['c', 'd'],
      ['c', 'd'],
    ]);
  });

  it('is written from the level on that counts at this moment, also by loggers that were made before', () => {
    const lines: string[] = [];
    let level: LogLevel = 'error';
    const destinations = [{ write: (line: string) => void lines.push(JSON.parse(line).msg) }];
    const log = createLogger({ service: 's', level: () => level, destinations });
    const made = log.with({ a: 1 });
    for (const next of ['error', 'debug', 'silent', 'warn'] as const) {
      level = next;
      for (const at of ['debug', 'warn', 'error'] as const) made[at]({}, `${next}: ${at}`);
    }
    expect(lines).toEqual(['error: error', 'debug: debug', 'debug: warn', 'debug: error', 'warn: warn', 'warn: error']);
  });

  it('never holds a secret', () => {
    const { log, lines, last } = capture();
    log.info(
      { headers: { authorization: 'Bearer s3cret-1' }, api_key: 's3cret-2, s3cret-3', key: new Secret('s3cret-4') },
      'url http://u:s3cret-5@h, body {"token":"s3cret-6"}',
    );
    log.error({ error: new Error('said password=s3cret-7') }, 'failed');
    expect(lines.join('')).not.toContain('s3cret');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      key: new Secret('s3cret-4').fingerprint,
      api_key: '[REDACTED]',
    });
    expect(last().msg).toBe('failed');
  });
});

describe('an error in a log line', () => {
  it('has its message, stack and causes', () => {
    const { log, last } = capture();
    const cause = Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
    log.error(
      { error: new RbeeError('MODEL_LOAD_FAILED', 'bad file', { details: { file: 'x.gguf' }, cause }) },
      'failed',
    );
    expect(last().error).toEqual({
      error_code: 'MODEL_LOAD_FAILED',
      details: { file: 'x.gguf' },
      message: 'bad file',
      stack: expect.stringContaining('logger.test.ts'),
      cause: { message: 'ENOENT', stack: expect.any(String) },
    });
  });

  it('may be its own cause', () => {
    const { log, last } = capture();
    const error = new Error('round');
    error.cause = error;
    log.error({ error }, 'failed');
    expect(last().error).toMatchObject({ message: 'round', cause: { cause: { message: 'round' } } });
  });

  it('may be no error at all', () => {
    const { log, last } = capture();
    log.error({ error: 'text' }, 'failed');
    expect(last().error).toBe('text');
  });
});

it('values that JSON cannot hold do not stop the service', () => {
  const { log, last } = capture();
  const ring: Record<string, unknown> = { size: 10n };
  ring.self = ring;
  log.info({ ring }, 'odd');
  expect(last()).toMatchObject({ msg: 'odd' });
});

it('a silent logger writes nothing, nor do those made from it', () => {
  const { log, lines } = capture('silent');
  for (const quiet of [log, log.with({ a: 1 }), silentLogger, silentLogger.with({ a: 1 })]) {
    for (const level of ['debug', 'info', 'warn', 'error'] as const) expect(quiet[level]({}, 'x')).toBeUndefined();
  }
  expect(lines).toEqual([]);
});
