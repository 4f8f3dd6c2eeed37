import { afterEach, describe, expect, it } from '@jest/globals';
import type { OptionDefinition } from './command.js';
import { joinDashedValues, readCommandLine } from './command-line.js';
import { commandTable } from './command-table.js';
import { removeFolders, runKeeper } from './testing/start-keeper.js';

afterEach(removeFolders);

async function optionsOf(...args: string[]): Promise<Record<string, unknown>> {
  const invocation = await readCommandLine(args, 100);
  if (invocation.kind !== 'command') throw new Error(`${invocation.kind} instead of a command`);
  return { ...invocation.globals, ...invocation.options };
}

describe('flags', () => {
  it.each<[string[], Record<string, unknown>]>([
    [['--prompt', 'hi'], { prompt: 'hi', temperature: 0.7, backend: 'cpu', quiet: false, stop: [], device: undefined }],
    [['--prompt', '-'], { prompt: '-' }],
    [['--prompt', '- a list\n- of things'], { prompt: '- a list\n- of things' }],
    [['--prompt', '-5 degrees'], { prompt: '-5 degrees' }],
    [['--prompt=--quiet'], { prompt: '--quiet', quiet: false }],
    [['--prompt', '"quoted"'], { prompt: '"quoted"' }],
    [['--prompt', '007'], { prompt: '007' }],
    [['--prompt', ''], { prompt: '' }],
    [['--prompt', 'a', '--prompt', 'b'], { prompt: 'b' }],
    [['--max-tokens', '20', '--seed', '4294967295'], { 'max-tokens': 20, seed: 4294967295 }],
    [['--temperature', '0'], { temperature: 0 }],
    [['--device', '-1'], { device: -1 }],
    [['--stop', 'a', '--stop', '-b-'.slice(1)], { stop: ['a', 'b-'] }],
    [['--timeout', '5m', '--keep-alive', '250ms'], { timeout: 300_000, 'keep-alive': 250 }],
    [
      ['--no-color', '--no-spawn', '--json', '--verbose'],
      { 'no-color': true, 'no-spawn': true, json: true, verbose: true },
    ],
    [['--keep-alive', '0'], { 'keep-alive': 0 }],
    [['--quiet', '--raw'], { quiet: true, raw: true }],
  ])('infer %j', async (args, expected) => {
    expect(await optionsOf('infer', ...args)).toMatchObject(expected);
  });

  it('may stand before the command when every command has them', async () => {
    expect(await optionsOf('--json', '--queen-url', 'http://127.0.0.1:1', 'workers', 'list')).toMatchObject({
      json: true,
      'queen-url': 'http://127.0.0.1:1',
    });
  });

  it('have older names, which the help does not show', async () => {
    expect(await optionsOf('pool', 'status', '--host', 'attic')).toMatchObject({ node: 'attic' });
    expect(await optionsOf('hive', 'stop', '--host', 'attic')).toMatchObject({ node: 'attic' });
    for (const args of [['--help'], ['hive', '--help'], ['hive', 'stop', '--help']]) {
      expect((await runKeeper(args)).stdout).not.toMatch(/pool|--host /);
    }
    expect((await runKeeper(['pool', '--help'])).stdout).toContain('Usage: rbee-keeper hive <command>');
  });

  it.each<[string[], Record<string, unknown>]>([
    [['show', 'hf:org/repo:Q4_K_M'], { model: 'hf:org/repo:Q4_K_M', node: undefined }],
    [['rm', '--json', '007'], { model: '007', json: true, node: 'localhost' }],
    [['rm', 'x', '--node', 'attic'], { model: 'x', node: 'attic' }],
    [['rm', '--node', 'attic', 'x'], { model: 'x', node: 'attic' }],
    [['rm', '--node=attic', '--', '-x'], { model: '-x', node: 'attic' }],
    [['pull', '--model', 'hf:org/repo'], { model: 'hf:org/repo' }],
  ])('of models may stand around the word: %j', async (args, expected) => {
    expect(await optionsOf('models', ...args)).toMatchObject(expected);
  });

  it('have the defaults of logs', async () => {
    expect(await optionsOf('logs')).toMatchObject({ node: 'localhost', follow: false, lines: undefined });
  });
});

describe('joinDashedValues', () => {
  it('ties only what cannot be a flag', () => {
    expect(joinDashedValues(['--prompt', '- a b', '--quiet', '--stop', '--x=a b'])).toEqual([
      '--prompt=- a b',
      '--quiet',
      '--stop',
      '--x=a b',
    ]);
  });
});

describe('a command line that cannot be understood', () => {
  it.each<[string[], string, string | undefined]>([
    [['infre', '--prompt', 'hi'], 'unknown command infre', 'rbee-keeper infer'],
    [['zebra'], 'unknown command zebra', undefined],
    [['setup', 'add-node', '--ssh-host', 'attic'], '--name is missing', undefined],
    [['setup', 'add-node', '--name', 'attic'], 'give --ssh-host, or --hive-url', undefined],
    [['setup', 'add-node', '--name', 'attic', '--shh-host', 'a'], 'unknown flag --shh-host', '--ssh-host'],
    [['setup', 'add-nod'], 'unknown command setup add-nod', 'rbee-keeper setup add-node'],
    [['setup'], 'setup needs one of: add-node, list-nodes, update-node, remove-node, install', undefined],
    [['setup', 'update-node', '--name', 'attic'], 'nothing to change: give at least one flag', undefined],
    [['setup', 'install', '--name', 'attic'], 'unknown flag --name', '--node'],
    [
      ['setup', 'add-node', '--name', 'a', '--ssh-host', 'a', '--ssh-port', 'x'],
      '--ssh-port must be a number',
      undefined,
    ],
    [
      ['setup', 'add-node', '--name', 'a', '--ssh-host', 'a', '--devices', 'cuda'],
      '--devices must be a list',
      undefined,
    ],
    [['add-node', '--name', 'attic'], 'unknown command add-node', 'rbee-keeper setup add-node'],
    [['install', '--node', 'attic'], 'install is not there yet', 'rbee-keeper setup install'],
    [['hive', 'start'], '--node is missing', undefined],
    [['hive', 'strat'], 'unknown command hive strat', 'rbee-keeper hive start'],
    [['pool', 'strat'], 'unknown command hive strat', 'rbee-keeper hive start'],
    [['start'], 'unknown command start', undefined],
    [['catalog', 'backup'], 'catalog is not there yet', undefined],
    [['models'], 'models needs one of: list, show, pull, rm, scan, variants', undefined],
    [['models', 'pul', 'x'], 'unknown command models pul', 'rbee-keeper models pull'],
    [['pull', 'hf:org/repo'], 'unknown command pull', 'rbee-keeper models pull'],
    [['models', 'rm'], 'MODEL is missing: Its reference', undefined],
    [['models', 'rm', 'a', 'b'], 'b is one word too many', undefined],
    [['models', 'rm', 'a', '--model', 'b'], 'a and --model exclude each other', undefined],
    [['models', 'list', 'a'], 'a is one word too many: values belong to a flag', undefined],
    [['workers'], 'workers needs one of: list, health, spawn, pin, shutdown', undefined],
    [['workers', 'lst'], 'unknown command workers lst', 'rbee-keeper workers list'],
    [['queen', 'restart'], 'unknown command queen restart', 'rbee-keeper queen start'],
    [['infer', '--promt', 'hi'], 'unknown flag --promt', '--prompt'],
    [['infer', '--prompt', 'hi', '--colour'], 'unknown flag --colour', undefined],
    [['infer', '-p', 'hi'], 'unknown flag -p', undefined],
    [['--jsn'], 'unknown flag --jsn', '--json'],
    [['infer'], 'nothing to send: give --prompt, --prompt-file or --messages', undefined],
    [['infer', '--prompt', 'a', '--messages', 'b'], '--prompt and --messages exclude each other', undefined],
    [['infer', 'hello'], 'hello is one word too many', undefined],
    [['infer', '--prompt'], '--prompt needs a value', undefined],
    [['infer', '--prompt', 'a', '--device', 'x'], '--device must be a number', undefined],
    [['infer', '--prompt', 'a', '--max-tokens', ''], '--max-tokens must be a number', undefined],
    [['infer', '--prompt', 'a', '--timeout', 'soon'], '--timeout must be a duration', undefined],
    [['infer', '--prompt', 'a', '--timeout', '60'], '--timeout must be a duration', undefined],
    [['infer', '--prompt', 'a', '--timeout', '0.5'], '--timeout must be a duration', undefined],
    [['workers', 'shutdown'], '--id is missing', undefined],
    [['workers', 'health'], '--node is missing', undefined],
  ])('%j: %s', async (args, message, meant) => {
    const { code, stdout, stderr } = await runKeeper(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`[rbee-keeper] Error: ${message}`);
    if (meant === undefined) expect(stderr).not.toContain('Did you mean');
    else expect(stderr).toContain(`Did you mean ${meant}?`);
    expect(stderr).toMatch(/\nUsage: rbee-keeper .+\nHelp: {2}rbee-keeper .*--help\n$/);
  });

  it('is told to programs as an error too', async () => {
    const { code, stdout } = await runKeeper(['infer', '--json', '--promt', 'x']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        code: 'INVALID_REQUEST',
        message: 'unknown flag --promt',
        details: { usage: true, suggestion: '--prompt' },
        retryable: false,
      },
    });
  });
});

describe('help and version', () => {
  it('prints the version', async () => {
    expect(await runKeeper(['--version'])).toMatchObject({ code: 0, stdout: '0.1.0\n', stderr: '' });
    expect((await runKeeper(['--version', '--json'])).stdout).toBe('{"version":"0.1.0"}\n');
  });

  it.each([[[]], [['--help']], [['-h']]])('lists every command for %j', async (args) => {
    const { code, stdout } = await runKeeper(args);
    expect(code).toBe(0);
    for (const { path, summary } of commandTable) expect(stdout).toMatch(new RegExp(`${path.join(' ')} +${summary}`));
  });

  it('lists the commands of a noun', async () => {
    const { code, stdout } = await runKeeper(['workers', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: rbee-keeper workers <command> [options]');
    expect(stdout).not.toContain('queen start');
  });

  it.each(commandTable.map((entry) => [entry.path.join(' '), entry] as const))('explains %s', async (_name, entry) => {
    const { code, stdout } = await runKeeper([...entry.path, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: rbee-keeper ${entry.usage}`);
    const command = await entry.load();
    for (const [flag, { positional, value }] of Object.entries<OptionDefinition>(command.options)) {
      expect(stdout).toContain(positional ? `\n  ${value} ` : `  --${flag}`);
    }
    for (const [line] of command.examples) expect(stdout).toContain(`  ${line}\n`);
    expect(stdout.split('\n').filter((line) => line.length > 110 && !line.startsWith('  rbee'))).toEqual([]);
  });

  it('shows examples that can be typed', async () => {
    for (const entry of commandTable) {
      for (const [line] of (await entry.load()).examples) {
        const [, rest = ''] = line.split(/rbee-keeper /);
        const args = [...rest.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
        expect(await readCommandLine(args, 100)).toMatchObject({ kind: 'command', entry: { path: entry.path } });
      }
    }
  });
});
