import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { GlobalWorker } from '@rbee/protocol';
import { hiveOf } from '../testing/scripted-nodes.js';
import { ScriptedQueen } from '../testing/scripted-queen.js';
import { makeFolder, removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const run = (...args: string[]) => runKeeper(args, { queenUrl: queen.url });

const worker: GlobalWorker = {
  worker_id: 'worker-1',
  node: 'localhost',
  url: 'http://127.0.0.1:8001',
  model_ref: 'builtin:honeycomb',
  state: 'idle',
  backend: 'cpu',
  device: 0,
  slots_total: 4,
  slots_available: 3,
  capabilities: ['cpu:0'],
  models_loaded: ['builtin:honeycomb'],
  rbee_hive_url: 'http://127.0.0.1:9200',
};

describe('workers', () => {
  it('lists them in columns', async () => {
    queen.workers = [worker, { ...worker, worker_id: 'worker-22', node: 'mac', state: 'loading', backend: 'metal' }];
    const { code, stdout } = await run('workers', 'list');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      'WORKER     NODE       STATE    FREE  DEVICE   MODEL              URL',
      'worker-1   localhost  idle     3/4   cpu:0    builtin:honeycomb  http://127.0.0.1:8001',
      'worker-22  mac        loading  3/4   metal:0  builtin:honeycomb  http://127.0.0.1:8001',
      '',
    ]);
  });

  it('says which nodes cannot be reached, and lists the workers of the others', async () => {
    queen.workers = [worker];
    queen.nodes.hives = [hiveOf('localhost'), hiveOf('attic', { status: 'unreachable', reason: 'no route to host' })];
    const { code, stdout, stderr } = await run('workers', 'list');
    expect(code).toBe(0);
    expect(stdout).toContain('worker-1');
    expect(stderr).toBe('[queen-rbee] attic cannot be reached: no route to host\n');
  });

  it.each([
    ['unreachable', 'no route to host', 'attic2 cannot be reached: no route to host'],
    ['unknown', undefined, 'attic2 has not answered yet'],
  ] as const)('suggests no work for the only node, which is %s', async (status, reason, said) => {
    queen.nodes.hives = [hiveOf('attic2', { status, hive: 'unknown', reason })];
    const { code, stdout, stderr } = await run('workers', 'list', '--node', 'attic2');
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'No workers on attic2.\n',
      stderr: `[queen-rbee] ${said}\n`,
    });
  });

  it('suggests the next command when there are none', async () => {
    const { code, stdout, stderr } = await run('workers', 'list');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'No workers.\n' });
    expect(stderr).toContain('rbee-keeper infer');
  });

  it('lists them for programs', async () => {
    queen.workers = [worker];
    expect(JSON.parse((await run('workers', 'list', '--json')).stdout)).toEqual({ workers: [worker] });
  });

  it('tells which are ready', async () => {
    queen.workers = [worker, { ...worker, worker_id: 'worker-2', state: 'busy' }];
    const { code, stdout } = await run('workers', 'health', '--node', 'localhost');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^localhost: ok\n/);
    expect(stdout).toMatch(/worker-1 +idle +ready\n/);
    expect(stdout).toMatch(/worker-2 +busy +not ready\n/);
  });

  it('names a node that is not known', async () => {
    const { code, stderr } = await run('workers', 'health', '--node', 'attic');
    expect(code).toBe(1);
    expect(stderr).toContain('attic');
    expect(stderr).toContain('rbee-keeper setup add-node --name attic');
  });

  it('stops one', async () => {
    const { code, stdout } = await run('workers', 'shutdown', '--id', 'worker-1');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '[queen-rbee] shutdown command sent to worker-1\n' });
    expect(queen.shutDown).toEqual(['worker-1']);
  });
});

describe('logs', () => {
  it('prints lines as they are', async () => {
    queen.log = '{"time":"2030-01-01T10:00:00Z","level":"info","service":"rbee-hive","msg":"hello"}\nplain\nrest';
    expect(await run('logs')).toMatchObject({ code: 0, stdout: `${queen.log}\n` });
  });

  it('lays them out on a terminal', async () => {
    queen.log = '{"time":"2030-01-01T10:00:00Z","level":"info","service":"rbee-hive","msg":"hello","pid":7}\n';
    const { stdout } = await runKeeper(['logs', '--no-color'], { queenUrl: queen.url, terminal: 'stdout' });
    expect(stdout).toMatch(/^\d\d:\d\d:\d\d info {2}rbee-hive hello pid=7\n$/);
  });

  it('colours the lines on a terminal, and lets no control character of a log through', async () => {
    queen.log = '{"time":"2026-01-02T03:04:05Z","level":"warn","service":"hive\\u001b[2J","msg":"a\\u001b[2Jb"}\n';
    const { stdout } = await runKeeper(['logs'], { queenUrl: queen.url, terminal: 'stdout' });
    expect(stdout).toContain('\u001b[33m');
    expect(stdout).not.toContain('\u001b[2J');
    expect(stdout).not.toContain('\ufffd[3');
  });

  it('makes JSON of every line with --json', async () => {
    queen.log = '{"msg":"hello"}\nplain\n';
    expect((await run('logs', '--json')).stdout).toBe('{"msg":"hello"}\n{"msg":"plain"}\n');
  });

  it('follows until Ctrl+C', async () => {
    queen.followsLog = true;
    const following = startKeeper(['logs', '--follow'], { queenUrl: queen.url, input: '' });
    await following.stdout.waitFor(/two\n/);
    following.signal();
    expect(await following.code).toBe(130);
    expect(following.stdout.text).toBe('one\ntwo\n');
  });

  it('stops quietly when its reader has gone', async () => {
    queen.followsLog = true;
    const following = startKeeper(['logs', '--follow'], { queenUrl: queen.url, input: '' });
    following.stdout.failWith('EPIPE');
    expect(await following.code).toBe(0);
    expect(following.stderr.text).toBe('');
  });
});

describe('a value that is understood but not allowed', () => {
  it.each<[string[], string, string]>([
    [['infer', '--prompt', ''], 'INVALID_REQUEST', 'the prompt is empty'],
    [['infer', '--prompt', 'hi', '--model', 'honeycomb'], 'INVALID_MODEL_REF', 'hf:org/repo'],
    [['infer', '--prompt', 'hi', '--model', 'hf:a/b\u001b[2J'], 'INVALID_MODEL_REF', 'hf:org/repo'],
    [['infer', '--prompt', 'hi', '--model', './missing.gguf'], 'MODEL_NOT_FOUND', './missing.gguf'],
    [['infer', '--prompt', 'hi', '--backend', 'abacus'], 'INVALID_BACKEND', 'cpu, cuda, metal, vulkan'],
    [['infer', '--prompt', 'hi', '--device', '-1'], 'INVALID_DEVICE', '--device: must be a non-negative integer'],
    [['infer', '--prompt', 'hi', '--device', '1.5'], 'INVALID_DEVICE', '--device'],
    [['infer', '--prompt', 'hi', '--node', 'a@b'], 'INVALID_NODE_NAME', '--node'],
    [['infer', '--prompt', 'hi', '--max-tokens', '0'], 'INVALID_REQUEST', '--max-tokens: must be at least 1'],
    [['infer', '--prompt', 'hi', '--temperature', '3'], 'INVALID_REQUEST', '--temperature: must be at most 2'],
    [['infer', '--prompt', 'hi', '--timeout', '0s'], 'INVALID_REQUEST', '--timeout: '],
    [['infer', '--prompt-file', 'missing.txt'], 'INVALID_REQUEST', '--prompt-file: missing.txt does not exist'],
    [['infer', '--messages', 'missing.json'], 'INVALID_REQUEST', '--messages: missing.json does not exist'],
    [['chat', '--model', 'honeycomb'], 'INVALID_MODEL_REF', 'hf:org/repo'],
    [['logs', '--lines', '-1'], 'INVALID_REQUEST', '--lines: '],
    [['logs', '--worker', 'a;b'], 'INVALID_WORKER_ID', '--worker: '],
    [['workers', 'list', '--node', 'a@b'], 'INVALID_NODE_NAME', '--node: '],
    [['workers', 'shutdown', '--id', '$(id)'], 'INVALID_WORKER_ID', '--id: '],
    [['workers', 'list', '--queen-url', 'ftp://x'], 'CONFIG_INVALID', '--queen-url'],
    [['workers', 'list', '--config', 'missing.toml'], 'CONFIG_INVALID', 'missing.toml'],
  ])('%j: %s', async (args, code, says) => {
    const result = await run(...args);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toContain(`code: ${code}`);
    expect(result.stderr).toContain(says);
    expect(queen.leases.size + queen.released).toBe(0);
  });
});

describe('the text for the model', () => {
  it.each<[string, string[], object]>([
    ['a file, without its last line break', ['--prompt-file', 'prompt.txt'], { prompt: 'first\n' }],
    ['messages', ['--messages', 'talk.json'], { messages: [{ role: 'user', content: 'hello' }] }],
    ['a raw prompt', ['--prompt', 'go', '--raw'], { prompt: 'go', template: 'none' }],
    ['standard input', ['--prompt', '-'], { prompt: 'from a pipe' }],
    ['standard input as a file', ['--prompt-file', '-'], { prompt: 'from a pipe' }],
  ])('comes from %s', async (_name, args, expected) => {
    const home = makeFolder();
    writeFileSync(join(home, 'prompt.txt'), 'first\n\n');
    writeFileSync(join(home, 'talk.json'), '[{"role":"user","content":"hello"}]');
    const { code } = await runKeeper(['infer', ...args], { queenUrl: queen.url, home, input: 'from a pipe\n' });
    expect(code).toBe(0);
    expect(queen.tasks[0]).toMatchObject(expected);
  });

  it('goes with every flag', async () => {
    await run(
      ...'infer --prompt hi --node localhost --backend cuda --device 1 --max-tokens 20 --temperature 0.5 --top-p 0.9'.split(
        ' ',
      ),
      ...'--top-k 40 --min-p 0.05 --repetition-penalty 1.1 --seed 7 --stop a --stop b --timeout 5m --quiet'.split(' '),
    );
    expect(queen.tasks[0]).toMatchObject({
      node: 'localhost',
      backend: 'cuda',
      device: 1,
      max_tokens: 20,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      repetition_penalty: 1.1,
      seed: 7,
      stop: ['a', 'b'],
      timeout_seconds: 300,
    });
  });

  it('goes to a model file by its absolute path', async () => {
    const home = makeFolder();
    for (const name of ['a.gguf', 'b.gguf']) writeFileSync(join(home, name), '');
    for (const model of ['./a.gguf', 'b.gguf', '~/a.gguf', join(home, 'b.gguf')]) {
      await runKeeper(['infer', '--prompt', 'hi', '--model', model], { queenUrl: queen.url, home });
    }
    expect(queen.tasks.map((task) => task.model)).toEqual(
      ['a', 'b', 'a', 'b'].map((name) => `file://${join(home, `${name}.gguf`)}`),
    );
  });
});
