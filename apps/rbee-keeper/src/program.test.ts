import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { endEvent, hangAfterTwoTokens, ScriptedQueen } from './testing/scripted-queen.js';
import { removeFolders, runKeeper, startKeeper } from './testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const infer = (args: string[], options: Parameters<typeof runKeeper>[1] = {}) =>
  runKeeper(['infer', ...args], { queenUrl: queen.url, ...options });

describe('infer', () => {
  it('writes the text alone to standard output, and everything else to standard error', async () => {
    const { code, stdout, stderr } = await infer(['--prompt', 'hello']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Once upon a time.\n' });
    expect(stderr.split('\n')).toEqual([
      '[rbee-hive] starting a worker',
      '[model-loader] loading 37 % (layers 12 of 32)',
      '[inference-backend] done: 5 tokens in 1234 ms (4.1 tokens/s), prompt 9 tokens (0 cached)',
      '',
    ]);
    expect(queen.tasks[0]).toMatchObject({
      prompt: 'hello',
      model: 'builtin:honeycomb',
      temperature: 0.7,
      backend: 'cpu',
    });
    expect(queen.released).toBe(1);
    expect(queen.leases.size).toBe(0);
  });

  it('sends its own ids with the task', async () => {
    const { stdout } = await infer(['--prompt', 'hello', '--json']);
    const [task] = queen.tasks;
    expect(task?.job_id).toMatch(/^job-[0-9a-f-]{36}$/);
    expect(queen.correlationIds[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(stdout)).toMatchObject({ job_id: task?.job_id, correlation_id: queen.correlationIds[0] });
  });

  it('ends the text with exactly one line break, whatever the model sends', async () => {
    queen.script = async (_task, stream) => {
      for (const [i, t] of ['One.\n', '\n', 'Two.', '\n\n'].entries()) stream.send({ type: 'token', t, i });
      stream.send(endEvent(4));
    };
    expect((await infer(['--prompt', 'hello'])).stdout).toBe('One.\n\nTwo.\n');
  });

  it('says nothing but the text with --quiet', async () => {
    const { stdout, stderr } = await infer(['--prompt', 'hello', '--quiet']);
    expect({ stdout, stderr }).toEqual({ stdout: 'Once upon a time.\n', stderr: '' });
  });

  it('prints one object with --json', async () => {
    const { stdout } = await infer(['--prompt', 'hello', '--json']);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toMatchObject({
      text: 'Once upon a time.',
      node: 'localhost',
      model: 'builtin:honeycomb',
      worker_id: 'worker-1',
      tokens_out: 5,
      prompt_tokens: 9,
      cached_tokens: 0,
      stop_reason: 'EOS',
    });
  });

  it('shows a bar on a terminal, which is gone when the text comes', async () => {
    const run = startKeeper(['infer', '--prompt', 'hello'], { queenUrl: queen.url, terminal: 'both', input: '' });
    expect(await run.code).toBe(0);
    expect(run.stderr.text).toMatch(/█+.*░+.* 37 % .*layers 12 of 32/);
    expect(run.stderr.screen).not.toContain('layers');
    expect(run.stderr.text).toContain('\u001b[2m[rbee-hive]\u001b[22m starting a worker');
  });

  it('says that nothing is lost when it is cancelled while the model comes', async () => {
    queen.script = async (_task, stream, signal) => {
      stream.send({ type: 'progress', phase: 'download', bytes_downloaded: 60, bytes_total: 100 });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    };
    const running = startKeeper(['infer', '--prompt', 'hello'], { queenUrl: queen.url, input: '' });
    await running.stderr.waitFor(/60 %/);
    running.signal();
    expect(await running.code).toBe(130);
    expect(running.stderr.text).toMatch(/\nCanceled\.\nWhat has come of the model is kept; the same command goes on/);
  });

  it.each([
    ['NO_COLOR', { variables: { NO_COLOR: '1' } }, []],
    ['--no-color', {}, ['--no-color']],
    ['a terminal without colours', { variables: { TERM: 'dumb' } }, []],
  ])('uses no colour with %s', async (_name, options, args) => {
    const { stderr } = await infer(['--prompt', 'hello', ...args], { terminal: 'both', ...options });
    expect(stderr).toContain('[rbee-hive] starting a worker');
    expect(stderr).not.toContain('\u001b[2m');
    expect(stderr).not.toContain('\u001b[36m');
  });

  it('lets no control character of a model or a service steer the terminal', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'narration', actor: 'x', action: 'y', target: 'z', human: 'a\u001b[2Jb\nc' });
      stream.send({ type: 'token', t: 'evil\u001b]0;title\u0007', i: 0 });
      stream.send(endEvent(1));
    };
    const run = startKeeper(['infer', '--prompt', 'hi', '--no-color'], {
      queenUrl: queen.url,
      terminal: 'both',
      input: '',
    });
    await run.code;
    expect(run.stderr.text).toContain('[x] a\ufffd[2Jb c');
    expect(run.stdout.text).toBe('evil\ufffd]0;title\ufffd\n');
  });

  it('gives a pipe the text byte for byte', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'raw\u001b[1m', i: 0 });
      stream.send(endEvent(1));
    };
    expect((await infer(['--prompt', 'hi'])).stdout).toBe('raw\u001b[1m\n');
  });

  it('never cuts a line of text in two on a terminal, and still tells warnings', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'Once', i: 0 });
      stream.send({ type: 'narration', actor: 'w', action: 'token_generate', target: 'j', human: '10 tokens' });
      stream.send({ type: 'token', t: ' upon', i: 1 });
      stream.send({ type: 'narration', actor: 'w', action: 'slow', target: 'j', human: 'slow link', level: 'warn' });
      stream.send({ type: 'token', t: ' a time', i: 2 });
      stream.send(endEvent(3));
    };
    const run = startKeeper(['infer', '--prompt', 'hi'], { queenUrl: queen.url, terminal: 'both', input: '' });
    await run.code;
    expect(run.stdout.text).toBe('Once upon\n a time\n');
    expect(run.stderr.screen).not.toContain('10 tokens');
    expect(run.stderr.screen).toContain('[w] slow link');
  });

  it('shows the queue and hidden details with --verbose', async () => {
    queen.script = async (task, stream) => {
      stream.send({ type: 'queued', position: 2, eta_ms: 1500, reason: 'all slots are busy' });
      stream.send({ type: 'worker', worker_id: 'worker-1', node: 'n', url: 'u', state: 'idle', reused: true });
      stream.send({ type: 'started', job_id: task.job_id ?? '', model: 'm', started_at: 'now' });
      stream.send(endEvent(0));
    };
    const { stderr, stdout } = await infer(['--prompt', 'hi', '--verbose']);
    expect(stderr).toContain('[queen-rbee] waiting: place 2 in the queue, about 1.5 s (all slots are busy)');
    expect(stderr).toContain('warm worker worker-1 on n (idle)');
    expect(stdout).toBe('\n');
  });

  it('understands the older unnamed events', async () => {
    queen.script = async (_task, stream) => {
      stream.sendFrame('data: {"token":"Hi","index":0}\n\n');
      stream.sendFrame('data: {"done":true,"total_tokens":1,"duration_ms":10}\n\n', true);
    };
    const { code, stdout } = await infer(['--prompt', 'hi']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Hi\n' });
  });
});

describe('a task that fails', () => {
  it('is told in a block with its facts and what to do', async () => {
    queen.script = async () => {
      throw new RbeeError('VRAM_EXHAUSTED', 'VRAM too small: need 6000 MB, have 4000 MB', {
        details: { node: 'workstation', device: 1, required: 6000, available: 4000 },
      });
    };
    const { code, stdout, stderr } = await infer(['--prompt', 'hi']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('[rbee-hive] Error: VRAM too small: need 6000 MB, have 4000 MB');
    expect(stderr).toMatch(/ {2}node: workstation\n {2}device: 1\n {2}required: 6000 MB\n {2}available: 4000 MB\n\n/);
    expect(stderr).toContain('--backend cpu');
  });

  it('is one object with --json, and a block for people all the same', async () => {
    queen.script = async () => {
      throw new RbeeError('QUEUE_FULL', 'full', { details: { waiting: 9 } });
    };
    const { code, stdout, stderr } = await infer(['--prompt', 'hi', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      error: { code: 'QUEUE_FULL', message: 'full', details: { waiting: 9 } },
    });
    expect(stderr).toContain('[queen-rbee] Error: full\n');
  });

  it('keeps what had come when the stream breaks off', async () => {
    queen.script = hangAfterTwoTokens;
    const run = startKeeper(['infer', '--prompt', 'hi', '--max-tokens', '20'], { queenUrl: queen.url, input: '' });
    await run.stdout.waitFor(/upon/);
    queen.cut();
    expect(await run.code).toBe(1);
    expect(run.stdout.text).toBe('Once upon\n');
    expect(run.stderr.text).toContain('2 / 20 tokens');
    const [name] = readdirSync(join(run.home, 'tmp'));
    expect(name).toMatch(/^rbee-partial-[0-9a-f]{8}\.txt$/);
    const path = join(run.home, 'tmp', name ?? '');
    expect(run.stderr.text).toContain(path);
    expect(readFileSync(path, 'utf8')).toBe('Once upon\n');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('keeps no file when nothing had come', async () => {
    queen.script = async () => {
      throw new RbeeError('WORKER_CRASHED', 'the worker ended');
    };
    const { home, code } = await infer(['--prompt', 'hi']);
    expect(code).toBe(1);
    expect(readdirSync(join(home, 'tmp'))).toEqual([]);
  });

  it('says where to look when something unforeseen happened, and shows no stack', async () => {
    queen.script = async () => {
      throw new Error('secret internals');
    };
    const { stderr } = await infer(['--prompt', 'hi']);
    expect(stderr).toContain(queen.correlationIds[0]);
    expect(stderr).toContain('.rbee/logs');
    expect(stderr).not.toMatch(/secret internals|\n\s+at /);
  });
});

describe('Ctrl+C', () => {
  it('cancels the task, says so, and ends with 130', async () => {
    queen.script = hangAfterTwoTokens;
    const run = startKeeper(['infer', '--prompt', 'hi'], { queenUrl: queen.url, input: '' });
    await run.stdout.waitFor(/upon/);
    run.signal();
    expect(await run.code).toBe(130);
    expect(run.stdout.text).toBe('Once upon\n');
    expect(run.stderr.text).toMatch(/Canceled\.\n$/);
    expect(queen.canceled).toEqual([queen.tasks[0]?.job_id]);
    expect(queen.released).toBe(1);
    expect(readdirSync(join(run.home, 'tmp'))).toEqual([]);
  });

  it('does not wait for a queen that does not acknowledge', async () => {
    queen.script = hangAfterTwoTokens;
    const variables = { RBEE_T_CANCEL_ACK: '50ms' };
    const run = startKeeper(['infer', '--prompt', 'hi'], { queenUrl: queen.url, input: '', variables });
    await run.stdout.waitFor(/upon/);
    queen.mute = true;
    run.signal();
    expect(await run.code).toBe(130);
  });

  it('ends the program at once when it comes twice', async () => {
    queen.script = hangAfterTwoTokens;
    const run = startKeeper(['infer', '--prompt', 'hi'], { queenUrl: queen.url, input: '' });
    await run.stdout.waitFor(/upon/);
    queen.mute = true;
    run.signal();
    run.signal();
    expect(await run.code).toBe(130);
    queen.cut();
  });

  it('is told to programs as an error', async () => {
    queen.script = async (task, stream, signal) => {
      stream.send({ type: 'narration', actor: 'a', action: 'b', target: 'c', human: 'begun' });
      await hangAfterTwoTokens(task, stream, signal);
    };
    const run = startKeeper(['infer', '--prompt', 'hi', '--json'], { queenUrl: queen.url, input: '' });
    await run.stderr.waitFor(/./);
    run.signal('SIGTERM');
    expect(await run.code).toBe(130);
    expect(JSON.parse(run.stdout.text)).toMatchObject({ error: { code: 'CANCELLED' } });
  });
});

describe('standard output that takes no more', () => {
  it('ends quietly when its reader has gone, and cancels the task', async () => {
    queen.script = async (_task, stream, signal) => {
      stream.send({ type: 'token', t: 'Once', i: 0 });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw signal.reason;
    };
    const run = startKeeper(['infer', '--prompt', 'hi', '--quiet'], { queenUrl: queen.url, input: '' });
    run.stdout.failWith('EPIPE');
    expect(await run.code).toBe(0);
    expect(run.stderr.text).toBe('');
    expect(queen.canceled).toHaveLength(1);
  });

  it('tells a full disk', async () => {
    queen.script = hangAfterTwoTokens;
    const run = startKeeper(['infer', '--prompt', 'hi', '--quiet'], { queenUrl: queen.url, input: '' });
    run.stdout.failWith('ENOSPC');
    expect(await run.code).toBe(1);
    expect(run.stderr.text).toContain('DISK_FULL');
    expect(queen.canceled).toHaveLength(1);
  });
});
