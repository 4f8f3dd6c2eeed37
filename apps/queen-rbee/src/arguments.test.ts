import { describe, expect, it } from '@jest/globals';
import { readArguments } from './arguments.js';

describe('readArguments', () => {
  it.each([
    [[], {}],
    [['daemon'], {}],
    [['daemon', '--host', '::1', '--port', '9000'], { host: '::1', port: '9000' }],
    [['-p', '9000', '-c', 'file.toml'], { port: '9000', config: 'file.toml' }],
    [['--ephemeral', '--keep-alive=10m'], { ephemeral: true, keepAlive: '10m' }],
  ])('%j runs the queen', (args, flags) => {
    const invocation = readArguments(args);
    expect(invocation).toMatchObject({ kind: 'run', flags });
  });

  it.each([
    [['--help'], 'help'],
    [['daemon', '-h'], 'help'],
    [['--version'], 'version'],
    [['copy'], 'copy'],
  ])('%j asks for something else', (args, kind) => {
    expect(readArguments(args)).toEqual({ kind });
  });

  it.each([
    [['--hots', 'x'], '--hots'],
    [['start'], "'start'"],
    [['daemon', 'again'], "'again'"],
    [['--port'], '--port'],
  ])('%j is a usage error that names what is wrong', (args, word) => {
    const invocation = readArguments(args);
    expect(invocation).toMatchObject({ kind: 'usage_error', message: expect.stringContaining(word) });
  });
});
