import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { modelOf, progressAt, stopAt, toldOf } from '../testing/scripted-models.js';
import { ScriptedQueen } from '../testing/scripted-queen.js';
import { makeFolder, removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

const MIB = 2 ** 20;
const TINY = 'hf:org/tiny:Q4_K_M';
const USED = new Date(2030, 5, 10, 8, 30, 0).getTime() / 1000;

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
  queen.models.models = [
    modelOf('localhost'),
    modelOf('workstation', { last_used_unix: USED }),
    modelOf('workstation', {
      id: 'big-q8_0',
      reference: 'org/big',
      variant: 'Q8_0',
      model_ref: 'hf:org/big:Q8_0',
      local_path: '/models/hf/org/big/Q8_0/big-Q8_0.gguf',
      size_bytes: 4.5 * 1024 * MIB,
      facts: undefined,
    }),
  ];
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const run = (...args: string[]) => runKeeper(['models', ...args], { queenUrl: queen.url });

describe('models list', () => {
  it('has a row for each model, and for each download with what it has reached', async () => {
    const id = 'job-5e1f0000-0000-4000-8000-000000000000';
    const bytes = { bytes_downloaded: 40 * MIB, bytes_total: 100 * MIB, speed_mbps: 8 };
    queen.models.downloads = [
      {
        node: 'localhost',
        download_id: id,
        model_ref: 'hf:org/a:Q4_K_M',
        source: 'hub',
        progress: { stage: 'downloading', source: 'hub', ...bytes },
      },
      {
        node: 'attic',
        download_id: id,
        model_ref: 'hf:org/b:Q4_K_M',
        source: 'node',
        progress: { stage: 'downloading', source: 'node', ...bytes },
      },
      {
        node: 'localhost',
        download_id: id,
        model_ref: 'hf:org/c:Q4_K_M',
        source: 'hub',
        progress: { stage: 'waiting', position: 2 },
      },
    ];
    const { code, stdout, stderr } = await run('list');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const rows = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows).toEqual([
      ['MODEL', 'SIZE', 'QUANTIZATION', 'NODE', 'LAST USED', 'STATE'],
      [TINY, '668.8 MB', 'Q4_K_M', 'localhost', 'never', 'ready'],
      [TINY, '668.8 MB', 'Q4_K_M', 'workstation', '2030-06-10 08:30:00', 'ready'],
      ['hf:org/big:Q8_0', '4.50 GB', 'Q8_0', 'workstation', 'never', 'ready'],
      ['hf:org/a:Q4_K_M', '100.0 MB', '-', 'localhost', '-', 'downloading 40 %'],
      ['hf:org/b:Q4_K_M', '100.0 MB', '-', 'attic', '-', 'copying 40 %'],
      ['hf:org/c:Q4_K_M', '-', '-', 'localhost', '-', 'waiting, place 2'],
      [''],
    ]);
  });

  it('asks one node when told to', async () => {
    const { stdout } = await run('list', '--node', 'localhost', '--json');
    expect(JSON.parse(stdout)).toEqual({
      models: JSON.parse(JSON.stringify([modelOf('localhost')])),
      downloads: [],
      unasked: [],
    });
    expect(queen.models.asked).toEqual(['listModels localhost']);
  });

  it('says which nodes it knows nothing of', async () => {
    queen.models.unasked = [{ node: 'attic', reason: 'its hive does not run' }];
    const { stdout, stderr } = await run('list');
    expect(stderr).toBe('[queen-rbee] attic was left out: its hive does not run\n');
    expect(stdout).not.toContain('attic');
  });

  it('does not say that there are no models when a node could not be asked', async () => {
    queen.models.models = [];
    queen.models.unasked = [{ node: 'localhost', reason: 'its catalog cannot be used' }];
    expect((await run('list')).stdout).toBe('No models on the nodes that could be asked.\n');
    const { stderr } = await run('show', 'foo');
    expect(stderr).toContain('there is no model foo on any node that could be asked');
    expect(stderr).toContain('unasked: localhost');
  });

  it('suggests the next command when there are none', async () => {
    const { code, stdout, stderr } = await run('list', '--node', 'attic');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'No models on attic.\n' });
    expect(stderr).toBe('Get one with: rbee-keeper models pull hf:ORG/REPO --node attic\n');
  });

  it('refuses the name of a node that cannot be one, before a queen is asked', async () => {
    const { code, stderr } = await run('list', '--node', 'a@b');
    expect(code).toBe(1);
    expect(stderr).toContain('--node: ');
    expect(queen.released).toBe(0);
  });
});

describe('models show', () => {
  const figures = {
    weights_bytes: 600 * MIB,
    kv_cache_bytes: 64 * MIB,
    compute_bytes: 0,
    total_bytes: 664 * MIB,
    context_size: 2048,
    slots: 4,
  };

  it('tells facts, and for each node its file, its last use and estimated beside used memory', async () => {
    const used = { ...figures, weights_bytes: 606 * MIB, kv_cache_bytes: 48 * MIB, total_bytes: 664.1 * MIB };
    queen.models.models = [
      modelOf('localhost', { memory: { estimated: figures, used } }),
      modelOf('workstation', { last_used_unix: USED, memory: { estimated: figures } }),
    ];
    const { code, stdout } = await run('show', 'hf:org/tiny');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      TINY,
      '  Id: tiny-q4_k_m',
      '  Size: 668.8 MB',
      '  Quantization: Q4_K_M',
      '  Architecture: llama, 22 layers',
      '  Longest context: 2048 tokens',
      '  Vocabulary: 32000 tokens',
      '  Chat template: yes',
      `  SHA-256: ${'a'.repeat(64)}`,
      '  On localhost:',
      '    File: /models/hf/org/tiny/Q4_K_M/tiny.Q4_K_M.gguf',
      '    There since: 2030-06-09 12:00:05',
      '    Last used: never',
      '    MEMORY             ESTIMATED  USED      DIFFERENCE',
      '    weights            600.0 MB   606.0 MB  +1.0 %',
      '    KV cache           64.0 MB    48.0 MB   -25 %',
      '    compute buffers    0.0 MB     0.0 MB    0 %',
      '    total              664.0 MB   664.1 MB  0 %',
      '    context of a slot  2048       2048',
      '    slots              4          4',
      '  On workstation:',
      '    File: /models/hf/org/tiny/Q4_K_M/tiny.Q4_K_M.gguf',
      '    There since: 2030-06-09 12:00:05',
      '    Last used: 2030-06-10 08:30:00',
      '    MEMORY             ESTIMATED  USED  DIFFERENCE',
      '    weights            600.0 MB   -     -',
      '    KV cache           64.0 MB    -     -',
      '    compute buffers    0.0 MB     -     -',
      '    total              664.0 MB   -     -',
      '    context of a slot  2048       -',
      '    slots              4          -',
      '    It has not been loaded there yet.',
      '',
    ]);
  });

  it('does not compare figures of another context', async () => {
    const used = { ...figures, context_size: 512, kv_cache_bytes: 16 * MIB };
    queen.models.models = [modelOf('localhost', { memory: { estimated: figures, used } })];
    const { stdout } = await run('show', TINY);
    expect(stdout).toMatch(/KV cache +64\.0 MB +16\.0 MB +-\n/);
    expect(stdout).toMatch(/context of a slot +2048 +512\n/);
  });

  it('lists the files of a split model with their digests, and tells apart what is not the same', async () => {
    const files = [1, 2].map((part) => ({
      name: `tiny-0000${part}-of-00002.gguf`,
      size_bytes: part * MIB,
      digest: String(part).repeat(64),
    }));
    queen.models.models = [modelOf('localhost', { files }), modelOf('attic', { digest: 'b'.repeat(64) })];
    const { stdout } = await run('show', 'tiny-q4_k_m');
    expect(stdout).toContain(`\n    tiny-00002-of-00002.gguf  2.0 MB  ${'2'.repeat(64)}\n`);
    expect(stdout.match(new RegExp(`^${TINY}$`, 'gm'))).toHaveLength(2);
    expect(stdout).toContain(`  SHA-256: ${'b'.repeat(64)}\n  On attic:\n`);
  });

  it('answers programs with every node', async () => {
    const { stdout } = await run('show', TINY, '--json');
    expect(JSON.parse(stdout).models).toMatchObject([{ node: 'localhost' }, { node: 'workstation' }]);
  });

  it.each([
    [['tiny'], 'no model tiny', 'Did you mean tiny-q4_k_m?'],
    [['hf:org/none'], 'no model hf:org/none', 'See which models there are: rbee-keeper models list'],
    [['org/tiny'], 'org/tiny is no model reference', 'Write it like this: hf:org/tiny'],
    [
      ['big-q8_0', '--node', 'localhost'],
      'localhost has no model big-q8_0',
      'It is on workstation: give --node workstation',
    ],
  ])('helps when %j means nothing', async (args, message, advice) => {
    const { code, stdout, stderr } = await run('show', ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr).toContain(advice);
  });
});

describe('models pull', () => {
  it('writes lines of progress into a pipe, and at the end where it came from', async () => {
    const { code, stdout, stderr } = await run('pull', 'hf:org/tiny', '--node', 'workstation');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      '[model-provisioner] downloading hf:org/tiny:Q4_K_M from huggingface.co: 100.0 MB',
      `[model-provisioner] ${TINY} is on workstation now: downloaded from the hub, 668.8 MB`,
      '',
    ]);
    const percents = [...stderr.matchAll(/downloading (\d+) %/g)].map(([, percent]) => Number(percent));
    expect(percents).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    expect(stderr).toContain('downloading 40 % (40.0 of 100.0 MB, 25.0 MB/s, 3 s left)\n');
    expect(stderr.trim().split('\n').at(-1)).toBe('[model-provisioner] verifying');
    expect(queen.models.pulled).toEqual([{ model: 'hf:org/tiny', node: 'workstation' }]);
  });

  it('shows one bar on a terminal, that goes on beyond 40 % after a retry', async () => {
    queen.models.pull = async (_request, stream) => {
      for (const percent of [20, 40]) stream.send(progressAt(percent));
      stream.send(toldOf('the connection broke at 40 % (reset): attempt 2 of 6 in 100 ms', 'warn'));
      for (const percent of [41, 70]) stream.send(progressAt(percent, { resumed_from: 40 * MIB, throttled: true }));
      stream.send({ type: 'end', node: 'localhost', model: modelOf('localhost'), source: 'hub', duration_ms: 1500 });
    };
    const running = startKeeper(['models', 'pull', TINY, '--no-color'], {
      queenUrl: queen.url,
      terminal: 'both',
      input: '',
    });
    expect(await running.code).toBe(0);
    expect(running.stderr.screen).toBe('');
    expect(running.stdout.text.split('\n')).toEqual([
      '[model-provisioner] the connection broke at 40 % (reset): attempt 2 of 6 in 100 ms',
      `[model-provisioner] ${TINY} is on localhost now: downloaded from the hub, 668.8 MB`,
      '',
    ]);
    const bars = running.stderr.text.split('\r\u001b[K').filter((line) => line !== '');
    expect(bars.map((bar) => / (\d+) % /.exec(bar)?.[1])).toEqual(['20', '40', '41', '70']);
    for (const bar of bars) expect(bar).toMatch(/downloading █+░+ +\d+ % \d+\.0 of 100\.0 MB, 25/);
    expect(bars.at(-1)).toMatch(/MB\/s throttled, 2 s left, resumed at 40 %$/);
  });

  it.each([
    [
      'node',
      { source: 'node' as const, from: 'workstation' },
      'is on localhost now: copied from workstation, 668.8 MB',
    ],
    ['catalog', { source: 'catalog' as const }, 'was on localhost already (668.8 MB)'],
  ])('says that a model came from the %s', async (_name, source, says) => {
    const end = { type: 'end' as const, node: 'localhost', model: modelOf('localhost'), duration_ms: 2000, ...source };
    queen.models.pull = async (_request, stream) => {
      stream.send(end);
    };
    expect((await run('pull', TINY)).stdout).toBe(`[model-provisioner] ${TINY} ${says}\n`);
    const { type: _type, ...result } = end;
    const printed = JSON.parse((await run('pull', TINY, '--json')).stdout);
    const { node: _node, ...model } = end.model;
    expect(printed).toEqual(JSON.parse(JSON.stringify({ ...result, model })));
  });

  it('can be cancelled, and says how to go on', async () => {
    let isTold: () => void = () => undefined;
    const told = new Promise<void>((resolve) => {
      isTold = resolve;
    });
    queen.models.pull = async (request, stream, signal) => {
      signal.addEventListener('abort', () => isTold());
      await stopAt(60)(request, stream, signal);
    };
    const args = ['models', 'pull', TINY, '--node', 'attic'];
    const running = startKeeper(args, { queenUrl: queen.url, input: '' });
    await running.stderr.waitFor(/60 %/);
    running.signal();
    expect(await running.code).toBe(130);
    expect(running.stderr.text).toMatch(/\nCanceled\.\nWhat has come is kept; go on with: (.*)\n$/);
    expect(running.stderr.text).toContain('go on with: rbee-keeper models pull hf:org/tiny:Q4_K_M --node attic\n');
    await told;
    expect(queen.released).toBe(1);
  });

  it('is cancelled for programs as an error with the way on', async () => {
    queen.models.pull = stopAt(60);
    const running = startKeeper(['models', 'pull', TINY, '--json'], { queenUrl: queen.url, input: '' });
    await running.stderr.waitFor(/60 %/);
    running.signal();
    expect(await running.code).toBe(130);
    const { error } = JSON.parse(running.stdout.text);
    expect(error).toMatchObject({ code: 'CANCELLED', details: { model: TINY } });
    expect(error.details.suggestion).toContain(`rbee-keeper models pull ${TINY}`);
  });

  it('promises nothing when it is cancelled before any byte', async () => {
    queen.models.pull = async (_request, stream, signal) => {
      stream.send(toldOf('asking the hub'));
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    };
    const running = startKeeper(['models', 'pull', TINY], { queenUrl: queen.url, input: '' });
    await running.stdout.waitFor(/asking/);
    running.signal();
    expect(await running.code).toBe(130);
    expect(running.stderr.text).toBe('Canceled.\n');
  });

  it('shows why it failed, with what to do', async () => {
    queen.models.pull = async (_request, stream) => {
      stream.send(progressAt(40));
      throw new RbeeError('DOWNLOAD_FAILED', 'the download broke off 6 times', { details: { attempts: 6 } });
    };
    const { code, stderr } = await run('pull', TINY);
    expect(code).toBe(1);
    expect(stderr).toContain('[model-provisioner] Error: the download broke off 6 times\n  code: DOWNLOAD_FAILED\n');
    expect(stderr).toContain('  attempts: 6\n');
    expect(stderr).toContain('goes on where it stopped');
  });

  it('does not take a connection that breaks off for a success', async () => {
    queen.models.pull = async (request, stream, signal) => {
      const hanging = stopAt(60)(request, stream, signal);
      setImmediate(() => queen.cut());
      await hanging;
    };
    const { code, stderr } = await run('pull', TINY);
    expect(code).toBe(1);
    expect(stderr).toContain('code: QUEEN_UNREACHABLE');
    expect(stderr).toContain('rbee-keeper models list');
  });

  it.each([
    [['org/tiny:Q8_0'], 'Write it like this: hf:org/tiny:Q8_0'],
    [['gpt-4'], 'MODEL: accepted forms: hf:org/repo'],
    [['hf:org/tiny', '--node', 'a@b'], '--node: '],
  ])('refuses %j before a queen is asked', async (args, says) => {
    const { code, stderr } = await run('pull', ...args);
    expect(code).toBe(1);
    expect(stderr).toContain(says);
    expect(queen.released).toBe(0);
  });
});

describe('models rm', () => {
  it.each([['hf:org/big'], ['hf:org/big:q8_0'], ['big-q8_0'], ['hf:org/big:big-Q8_0.gguf']])(
    'removes what %s means, and says what that frees',
    async (word) => {
      const { code, stdout } = await run('rm', word, '--node', 'workstation');
      expect(code).toBe(0);
      expect(stdout).toBe('[rbee-hive] removed hf:org/big:Q8_0 from workstation: 4.50 GB freed\n');
      expect(queen.models.asked).toEqual(['listModels workstation', 'removeModel big-q8_0 workstation']);
    },
  );

  it('takes the path of a file, and says plainly that a file outside the models folder stays', async () => {
    const home = makeFolder();
    const path = join(home, 'own.gguf');
    writeFileSync(path, '');
    const model_ref = `file://${path}`;
    queen.models.models = [
      modelOf('localhost', {
        id: 'own',
        provider: 'local',
        reference: path,
        model_ref,
        local_path: path,
        variant: undefined,
      }),
    ];
    queen.models.removesFiles = false;
    const { code, stdout } = await runKeeper(['models', 'rm', './own.gguf'], { queenUrl: queen.url, home });
    expect(code).toBe(0);
    expect(stdout).toBe(
      `[rbee-hive] localhost has forgotten ${model_ref}; its file lies outside the models folder and stays: ${path}\n`,
    );
  });

  it('removes nothing when the model is on another node, and names that one', async () => {
    const { code, stderr } = await run('rm', 'hf:org/big');
    expect(code).toBe(1);
    expect(stderr).toContain('localhost has no model hf:org/big');
    expect(stderr).toContain('It is on workstation: give --node workstation');
    expect(queen.models.asked).toEqual(['listModels localhost', 'listModels all']);
  });

  it('answers programs with one object', async () => {
    const { stdout } = await run('rm', TINY, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ node: 'localhost', model: { id: 'tiny-q4_k_m' }, file_removed: true });
  });
});

describe('models scan', () => {
  it('tells what it found, and what it refused', async () => {
    queen.models.found = {
      added: [modelOf('localhost')],
      changed: [modelOf('localhost', { model_ref: 'file:///models/a.gguf' })],
      removed: [modelOf('localhost', { model_ref: 'hf:org/gone:Q8_0' })],
      refused: [{ name: 'text.gguf', reason: 'it is no GGUF file' }],
      removed_partials: [{ name: 'x.gguf.0123456789abcdef.partial', size_bytes: 300 * MIB }],
    };
    const { code, stdout, stderr } = await run('scan');
    expect(code).toBe(0);
    expect(stderr).toBe('[rbee-hive] looking through the models of localhost\n');
    expect(stdout.split('\n')).toEqual([
      `[rbee-hive] added ${TINY} (668.8 MB)`,
      '[rbee-hive] changed: file:///models/a.gguf, its facts were read anew',
      '[rbee-hive] gone: hf:org/gone:Q8_0, its file is not there any more',
      '[rbee-hive] refused text.gguf: it is no GGUF file',
      '[rbee-hive] deleted the rest of a download: x.gguf.0123456789abcdef.partial (300.0 MB)',
      '[rbee-hive] localhost: 1 added, 1 changed, 1 gone, 1 refused, 1 old rest of downloads deleted',
      '',
    ]);
  });

  it('says when nothing has changed', async () => {
    expect((await run('scan', '--node', 'attic')).stdout).toBe('[rbee-hive] nothing has changed on attic\n');
    expect(JSON.parse((await run('scan', '--json')).stdout)).toMatchObject({ node: 'localhost', added: [] });
    expect(queen.models.asked).toEqual(['scanModels attic', 'scanModels localhost']);
  });
});

describe('models variants', () => {
  beforeEach(() => {
    queen.models.variants = [
      ['Q8_0', 1260],
      ['Q4_K_M', 669],
    ].map(([variant, megabytes]) => ({
      variant: String(variant),
      model_ref: `hf:org/tiny:${variant}`,
      files: [{ name: `tiny.${variant}.gguf`, size_bytes: Number(megabytes) * MIB }],
      size_bytes: Number(megabytes) * MIB,
      default: variant === 'Q4_K_M',
      present: variant === 'Q8_0',
    }));
  });

  it('lists them by size, with marks', async () => {
    const { code, stdout, stderr } = await run('variants', 'hf:org/tiny');
    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['VARIANT', 'SIZE', 'FILES', 'DEFAULT', 'PRESENT'],
      ['Q4_K_M', '669.0 MB', '1', 'default', '-'],
      ['Q8_0', '1.23 GB', '1', '-', 'on localhost'],
      [''],
    ]);
    expect(stderr).toBe('Get one with: rbee-keeper models pull hf:org/tiny:VARIANT\n');
  });

  it('asks the node that is named', async () => {
    const { stdout } = await run('variants', 'hf:org/tiny:Q4_K_M', '--node', 'attic', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ node: 'attic', model_ref: 'hf:org/tiny' });
    expect(queen.models.asked).toEqual(['modelVariants hf:org/tiny:Q4_K_M attic']);
  });
});
