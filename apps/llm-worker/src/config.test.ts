import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { processEnvironment } from '@rbee/daemon-kit';
import { readArguments } from './arguments.js';
import { readSettings, type WorkerSettings } from './config.js';

function read(args: readonly string[], variables: Record<string, string> = {}): WorkerSettings {
  const invocation = readArguments(args);
  if (invocation.kind !== 'run') throw new Error(JSON.stringify(invocation));
  return readSettings({ ...processEnvironment(), cwd: '/somewhere', variables }, invocation.flags);
}

describe('the command line', () => {
  it('needs nothing to run the bundled model by itself', () => {
    const settings = read([]);
    expect(settings).toMatchObject({
      ...{ modelRef: 'builtin:honeycomb', backend: 'cpu', device: 0, host: '127.0.0.1', port: 8001, slots: 4 },
      ...{ callbackUrl: undefined, key: undefined, contextSize: undefined },
    });
    expect(settings.workerId).toMatch(/^worker-[0-9a-f-]{36}$/);
    expect(settings.modelPath).toMatch(/models\/honeycomb-q4_k_m\.gguf$/);
  });

  it('takes everything that a hive says', () => {
    const args = '--worker-id w-1 --model tiny.gguf --model-ref hf:a/b --backend cuda --device 1 --port 8005';
    const rest = '--host 127.0.0.1 --callback-url http://127.0.0.1:9200 --slots 2 --ctx 512 --api-key secret';
    const settings = read([...args.split(' '), ...rest.split(' ')], { RBEE_T_DRAIN: '5s', RBEE_LOG_LEVEL: 'debug' });
    expect(settings).toMatchObject({
      ...{ workerId: 'w-1', modelPath: '/somewhere/tiny.gguf', modelRef: 'hf:a/b', backend: 'cuda', device: 1 },
      ...{ port: 8005, callbackUrl: 'http://127.0.0.1:9200', slots: 2, contextSize: 512, logLevel: 'debug' },
    });
    expect(settings.timeouts.drain).toBe(5000);
    expect(settings.key?.matches('secret')).toBe(true);
    expect(JSON.stringify(settings)).not.toContain('secret');
  });

  it('names a model by its file, and takes an empty callback address for none', () => {
    expect(read(['--model', '/m/x.gguf', '--callback-url', ''])).toMatchObject({
      modelRef: 'file:///m/x.gguf',
      callbackUrl: undefined,
    });
  });

  it('reports every bad value at once', () => {
    const bad = ['--port', '80', '--backend', 'gpu', '--slots', '0', '--ctx', '1', '--callback-url', 'ftp://x'];
    const message = /5 problems.*(--port.*--backend|--backend.*--port)/s;
    expect(() => read(bad)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }),
    );
    for (const flag of ['--slots', '--ctx', '--callback-url']) expect(() => read(bad)).toThrow(new RegExp(flag));
  });

  it('refuses an address that others can reach, unless there is a key', () => {
    expect(() => read(['--host', '0.0.0.0'])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(read(['--host', '0.0.0.0', '--api-key', 'k']).host).toBe('0.0.0.0');
  });

  it('reads a key file only when nobody else can', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rbee-key-'));
    try {
      const file = join(folder, 'key');
      writeFileSync(file, 'k3y\n', { mode: 0o600 });
      expect(read(['--api-key-file', file]).key?.matches('k3y')).toBe(true);
      chmodSync(file, 0o644);
      expect(() => read(['--api-key-file', file])).toThrow(/mode 0644/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([
    [['--help'], { kind: 'help' }],
    [['--version'], { kind: 'version' }],
    [['--bogus'], { kind: 'usage_error', message: "Unknown option '--bogus'" }],
    [['extra'], { kind: 'usage_error', message: expect.stringContaining('extra') }],
    [['--port'], { kind: 'usage_error', message: expect.stringContaining('--port') }],
  ])('%j is %j', (args, expected) => expect(readArguments(args)).toEqual(expected));
});
