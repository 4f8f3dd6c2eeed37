import { describe, expect, it } from '@jest/globals';
import { type ErrorCode, RbeeError, type RbeeErrorOptions } from '@rbee/protocol';
import { plainPalette } from './palette.js';
import { errorToJson, renderError } from './render-error.js';

const how = { palette: plainPalette, verbose: false, logs: '/home/me/.rbee/logs', configFile: '/etc/rbee/config.toml' };

function render(code: ErrorCode, message: string, options: RbeeErrorOptions = {}, verbose = false): string {
  return renderError(new RbeeError(code, message, options), { ...how, verbose });
}

describe('renderError', () => {
  it('has what happened, the facts, an empty line, and what to do', () => {
    const text = render('INSUFFICIENT_RAM', 'not enough memory', {
      details: { node: 'mac', required: 6000, available: 4000, reason: 'hidden' },
      suggestion: 'use a smaller quantization',
    });
    expect(text.split('\n')).toEqual([
      '[rbee-hive] Error: not enough memory',
      '  code: INSUFFICIENT_RAM',
      '  node: mac',
      '  required: 6000 MB',
      '  available: 4000 MB',
      '',
      'Use a smaller quantization',
      '',
    ]);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['lists', { available: ['cpu', 'cuda'] }, '  available: cpu, cuda\n'],
    ['an empty list', { available: [] }, '  available: none\n'],
    ['names of several words', { timeout_ms: 500, worker_id: 'w' }, '  timeout (ms): 500\n  worker id: w\n'],
    [
      'lists of objects',
      {
        nodes: [
          { node: 'a', reason: 'full' },
          { node: 'b', reason: 'off' },
        ],
      },
      '  nodes: node a, reason full; node b, reason off\n',
    ],
    ['hostile text', { file: 'a\nb\u001b[2J' }, '  file: a b\ufffd[2J\n'],
    ['the output of a process', { output: ['one', 'two'] }, '  last output:\n    one\n    two\n'],
  ])('shows %s', (_name, details, lines) => {
    expect(render('INVALID_REQUEST', 'no', { details })).toContain(lines);
  });

  it.each(['rbee-keeper hive status', 'ssh -G attic shows what is set', '--node NAME', '~/.rbee/logs'])(
    'leaves what is typed as it is: %s',
    (suggestion) => {
      expect(render('UNSUPPORTED_FIELD', 'no', { suggestion })).toContain(`\n\n${suggestion}\n`);
    },
  );

  it('has advice of its own for errors that come without', () => {
    const attic = { details: { node: 'attic', host: 'attic.home.arpa' } };
    expect(render('NODE_NOT_FOUND', 'there is no node attic', attic)).toContain(
      'rbee-keeper setup add-node --name attic',
    );
    expect(render('NODE_NOT_FOUND', 'there is no such node')).toContain('rbee-keeper setup add-node --name NODE');
    expect(render('SSH_CONNECTION_TIMEOUT', 'no', attic)).toContain('ping attic.home.arpa');
    expect(render('SSH_AUTH_FAILED', 'no', attic)).toContain('chmod 600');
    expect(render('HIVE_NOT_INSTALLED', 'no', attic)).toContain('rbee-keeper setup install --node attic');
    expect(render('INVALID_MODEL_REF', 'no')).toContain('For example --model ~/.local/share/rbee/models/');
    expect(render('PAYLOAD_TOO_LARGE', 'no')).toContain('limits.body_bytes');
    expect(render('QUEEN_UNREACHABLE', 'no')).toContain('rbee-keeper queen start');
  });

  it('names the configuration in use when a key is refused', () => {
    expect(render('INVALID_API_KEY', 'refused')).toContain('  configuration: /etc/rbee/config.toml\n');
  });

  it('tells of a bug only where its log is', () => {
    const bug = { cause: new Error('internals'), correlationId: '6f1c0c1e' };
    const text = render('INTERNAL_ERROR', 'something unforeseen went wrong', bug);
    expect(text).toContain('  correlation id: 6f1c0c1e\n');
    expect(text).toContain('/home/me/.rbee/logs');
    expect(text).not.toContain('internals');
    expect(render('INTERNAL_ERROR', 'x')).toContain('--verbose');
  });

  it('shows where an error came from only when asked to', () => {
    const failure = { cause: new Error('the cause') };
    expect(render('INFERENCE_FAILED', 'x', failure)).not.toContain('render-error.test');
    expect(render('INFERENCE_FAILED', 'x', failure, true)).toMatch(
      /render-error\.test[\s\S]*Caused by: Error: the cause/,
    );
  });
});

describe('errorToJson', () => {
  it('is the envelope of every service', () => {
    const error = new RbeeError('VRAM_EXHAUSTED', 'm', {
      details: { required: 1 },
      suggestion: 's',
      correlationId: 'c',
    });
    expect(errorToJson(error)).toEqual({
      error: {
        code: 'VRAM_EXHAUSTED',
        message: 'm',
        details: { required: 1, suggestion: 's' },
        retryable: false,
        correlation_id: 'c',
        aliases: ['GPU_VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'],
      },
    });
  });

  it('leaves out the correlation id of an error that never travelled', () => {
    expect(errorToJson(new RbeeError('CONFIG_INVALID', 'm'))).toEqual({
      error: { code: 'CONFIG_INVALID', message: 'm', details: {}, retryable: false },
    });
  });
});
