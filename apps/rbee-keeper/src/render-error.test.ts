import { describe, expect, it } from '@jest/globals';
import { rememberSecret } from '@rbee/daemon-kit/client';
import { type ErrorCode, RbeeError, type RbeeErrorOptions } from '@rbee/protocol';
import { plainPalette } from './palette.js';
import { errorToJson, renderError } from './render-error.js';

const CONFIG = '/etc/rbee/config.toml';
const settings = { queenUrl: 'http://hub.home.arpa:8080', configFile: CONFIG, configSearched: [CONFIG] };
const how = { palette: plainPalette, verbose: false, logs: '/home/me/.rbee/logs', settings };

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

  it('lists a deadline only where the message does not name it', () => {
    const details = { deadline: '2031-01-01T00:00:00.000Z' };
    expect(render('REQUEST_TIMEOUT', `the deadline ${details.deadline} has passed`, { details })).not.toContain(
      '  deadline:',
    );
    expect(render('REQUEST_TIMEOUT', 'too late', { details })).toContain(`  deadline: ${details.deadline}\n`);
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
    expect(render('INVALID_MODEL_REF', 'no')).toContain('For example hf:ORG/REPO, ~/');
    expect(render('PAYLOAD_TOO_LARGE', 'no')).toContain('limits.body_bytes');
    expect(render('QUEEN_UNREACHABLE', 'no')).toContain('rbee-keeper queen start');
  });

  it.each<[ErrorCode, Record<string, unknown>, string[]]>([
    [
      'MODEL_NOT_FOUND',
      { model: 'hf:org/repo:Q9', variants: ['Q4_K_M', 'Q8_0'] },
      ['  variants: Q4_K_M, Q8_0\n', 'rbee-keeper models variants hf:org/repo\n'],
    ],
    [
      'MODEL_NOT_FOUND',
      { model_ref: 'hf:org/repo' },
      ['Check the spelling on the hub', 'rbee-keeper models variants hf:org/repo\n'],
    ],
    ['MODEL_NOT_FOUND', { file: 'x.gguf' }, ['the path on the node', 'rbee-keeper models list']],
    ['MODEL_ACCESS_DENIED', { model: 'hf:org/repo' }, ['licence', '(org/repo)', 'HF_TOKEN']],
    ['DOWNLOAD_FAILED', {}, ['Repeat the command: the download goes on where it stopped']],
    ['DOWNLOAD_TIMEOUT', {}, ['goes on where it stopped']],
    ['CHECKSUM_MISMATCH', {}, ['Repeat the command']],
    [
      'INSUFFICIENT_DISK',
      { node: 'attic', required: 10, missing: 3 },
      ['  missing: 3 MB\n', 'rbee-keeper models list --node attic\n', 'rbee-keeper models rm MODEL --node attic\n'],
    ],
    ['CATALOG_UNAVAILABLE', {}, ['rbee-keeper logs']],
  ])('advises on %s about models: %j', (code, details, says) => {
    const text = render(code, 'no', { details });
    expect(text).toContain('[model-provisioner] Error: no\n');
    for (const part of says) expect(text).toContain(part);
  });

  it('does not repeat variants that the message names', () => {
    const details = { model: 'hf:org/repo', variants: ['Q4_K_S', 'Q8_0'] };
    expect(render('MODEL_NOT_FOUND', 'there are: Q4_K_S, Q8_0', { details })).not.toContain('variants:');
    expect(render('MODEL_NOT_FOUND', 'there are: Q4_K_S and 1 more', { details })).toContain(
      '  variants: Q4_K_S, Q8_0\n',
    );
  });

  it('tells a full disk of a node from one of its own', () => {
    expect(render('DISK_FULL', 'full')).toContain('[rbee-keeper] Error: full');
    const far = render('DISK_FULL', 'full', { correlationId: 'c' });
    expect(far).toContain('[model-provisioner] Error: full');
    expect(far).toContain('rbee-keeper models rm MODEL\n');
  });

  it.each<[ErrorCode, object]>([
    ['INVALID_API_KEY', { reason: 'invalid_token', service: 'queen-rbee' }],
    ['MISSING_API_KEY', {}],
  ])('names the queen that refused a key, its address, and the configuration file: %s', (code, details) => {
    const text = render(code, 'refused', { details: { ...details } });
    expect(text).toContain(
      `  code: ${code}\n  service: queen-rbee at http://hub.home.arpa:8080\n  configuration: /etc/rbee/config.toml\n`,
    );
    expect(text).toContain('auth.api_token_file');
  });

  it('tells where a configuration file was looked for, if there is none', () => {
    const none = { ...settings, configFile: undefined, configSearched: ['/home/me/.config/rbee/config.toml', CONFIG] };
    const text = renderError(new RbeeError('MISSING_API_KEY', 'no key'), { ...how, settings: none });
    expect(text).toContain(
      '  configuration: none (looked for /home/me/.config/rbee/config.toml, /etc/rbee/config.toml)\n',
    );
  });

  it('names the node and the service behind the queen that refused a key', () => {
    const text = render('INVALID_API_KEY', 'refused', { details: { service: 'rbee-hive', node: 'attic' } });
    expect(text).toContain('  service: rbee-hive\n  node: attic\n  configuration: /etc/rbee/config.toml\n');
    expect(text).not.toContain('hub.home.arpa');
    expect(text).toContain('rbee-keeper logs --node attic');
  });

  it('shows no key, wherever one stands', () => {
    const key = 'hf_abcdefghijklmnop';
    const mine = rememberSecret('correct horse battery staple');
    const text = render(
      'DOWNLOAD_FAILED',
      `the hub refused Authorization: Bearer ${key}`,
      {
        details: { url: `http://me:${key}@hub`, output: [`token=${key}`], at: 'correct horse battery staple' },
        suggestion: `give another one than ${key}`,
        cause: new Error(key),
      },
      true,
    );
    mine();
    expect(text).not.toContain(key);
    expect(text).not.toContain('horse');
    expect(text.match(/\[REDACTED\]/g)?.length).toBeGreaterThan(4);
  });

  it('names wrong settings whose names look like keys', () => {
    const problem = { key: 'auth.api_token', origin: 'file', message: 'unknown key' };
    const message = 'the configuration is not valid: /c.toml: auth.api_token: unknown key';
    expect(render('CONFIG_INVALID', message, { details: { problems: [problem] } })).toContain(message);
  });

  it('shows nothing that a terminal obeys or that hides in a text', () => {
    const evil = '\u001b[2J\u202e\u200b';
    const text = render(
      'INFERENCE_FAILED',
      evil,
      { details: { a: evil }, suggestion: evil, cause: new Error(evil) },
      true,
    );
    for (const character of evil.replace('[2J', '')) expect(text).not.toContain(character);
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

  it('shows no key', () => {
    const error = new RbeeError('INFERENCE_FAILED', 'token=abcdefgh', { details: { password: 'abcdefgh' } });
    expect(JSON.stringify(errorToJson(error))).not.toContain('abcdefgh');
  });

  it('leaves out the correlation id of an error that never travelled', () => {
    expect(errorToJson(new RbeeError('CONFIG_INVALID', 'm'))).toEqual({
      error: { code: 'CONFIG_INVALID', message: 'm', details: {}, retryable: false },
    });
  });
});
