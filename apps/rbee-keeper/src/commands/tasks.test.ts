import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError, type TaskSummary } from '@rbee/protocol';
import { answerOf, ScriptedQueen } from '../testing/scripted-queen.js';
import { removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';
import { TinyQueenPlace } from '../testing/tiny-queen.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const run = (...args: string[]) => runKeeper(['tasks', ...args], { queenUrl: queen.url });

const MADE = 'job-7f3c0a1e-0000-4000-8000-000000000001';
const TWIN = 'job-7f3c0a1e-0000-4000-8000-000000000002';

function task(parts: Partial<TaskSummary> = {}): TaskSummary {
  return {
    job_id: MADE,
    state: 'generating',
    model: 'builtin:honeycomb',
    node: 'localhost',
    worker_id: 'worker-1',
    priority: 'interactive',
    tokens_out: 12,
    resumed: 0,
    recovered: false,
    clients: 1,
    accepted_at: new Date(Date.now() - 65_000).toISOString(),
    correlation_id: 'c-1',
    ...parts,
  };
}

describe('tasks list', () => {
  it('lists them in columns, with as much of an id as tells them apart', async () => {
    queen.kept.summaries = [
      task(),
      task({
        job_id: 'job-mine',
        state: 'queued',
        position: 3,
        node: undefined,
        tokens_out: 0,
        accepted_at: new Date().toISOString(),
      }),
    ];
    const { code, stdout } = await run('list');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      'TASK          STATE       TOKENS  NODE       AGE    MODEL',
      'job-7f3c0a1e  generating  12      localhost  1 min  builtin:honeycomb',
      expect.stringMatching(/^job-mine {6}queued \(3\) {2}0 {7}- {10}\d s {4}builtin:honeycomb$/),
      '',
    ]);
    queen.kept.summaries = [task(), task({ job_id: TWIN })];
    expect((await run('list')).stdout).toContain(`\n${TWIN}  generating`);
  });

  it('fits a terminal of 80 columns', async () => {
    queen.kept.summaries = [task({ state: 'queued', position: 1000, node: 'workstation' })];
    const { stdout } = await run('list');
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('lists those in one state', async () => {
    queen.kept.summaries = [task(), task({ job_id: 'job-x', state: 'failed' })];
    expect((await run('list', '--state', 'failed')).stdout).not.toContain('7f3c');
    expect((await run('list', '--state', 'queued')).stdout).toBe('No tasks that are queued.\n');
  });

  it('names the states for a wrong one', async () => {
    const { code, stderr } = await run('list', '--state', 'sleeping');
    expect(code).toBe(1);
    expect(stderr).toContain('--state: must be one of starting, queued, generating, ended, failed, cancelled');
  });

  it('suggests the next command when there are none', async () => {
    expect(await run('list')).toMatchObject({
      code: 0,
      stdout: 'No tasks.\n',
      stderr: 'Start one with: rbee-keeper infer --prompt "hello"\n',
    });
  });

  it('lists them for programs', async () => {
    queen.kept.summaries = [task({ job_id: 'job-x' })];
    expect(JSON.parse((await run('list', '--json')).stdout)).toEqual({ tasks: queen.kept.summaries });
  });

  it('starts no queen to list nothing', async () => {
    const here = await TinyQueenPlace.create();
    const { code, stdout } = await runKeeper(['tasks', 'list'], here.options);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `No tasks: no queen answers at http://127.0.0.1:${here.port}.\n`,
    });
    expect(JSON.parse((await runKeeper(['tasks', 'list', '--json'], here.options)).stdout)).toEqual({ tasks: [] });
    for (const verb of ['show', 'cancel']) {
      const { code, stderr } = await runKeeper(['tasks', verb, '--id', 'job-x'], here.options);
      expect(code).toBe(1);
      expect(stderr).toContain('code: QUEEN_UNREACHABLE');
    }
    expect(here.starts).toEqual([]);
  });
});

describe('tasks show', () => {
  it('tells the facts and the text so far', async () => {
    queen.kept.summaries = [
      task({
        state: 'failed',
        resumed: 2,
        recovered: true,
        ended_at: new Date().toISOString(),
        error: { code: 'WORKER_CRASHED', message: 'the worker ended' },
      }),
    ];
    queen.kept.keep(answerOf(['Once', ' upon', '\n']));
    const { code, stdout } = await run('show', '--id', MADE);
    expect(code).toBe(0);
    expect(stdout).toContain(
      `${MADE}\n  State: failed\n  Model: builtin:honeycomb\n  Node: localhost\n  Worker: worker-1\n`,
    );
    expect(stdout).toContain('  Resumed: 2 times, at another worker\n  Recovered: yes');
    expect(stdout).toMatch(/\n {2}Error: the worker ended \(WORKER_CRASHED\)\n\nOnce upon\n$/);
  });

  it('takes the beginning of an id where that is enough', async () => {
    queen.kept.summaries = [task()];
    expect((await run('show', '--id', 'job-7f3c')).stdout).toContain(MADE);
    queen.kept.summaries.push(task({ job_id: TWIN }));
    const { code, stderr } = await run('show', '--id', 'job-7f3c');
    expect(code).toBe(1);
    expect(stderr).toContain('2 tasks have an id that begins with job-7f3c');
    expect((await run('show', '--id', TWIN, '--json')).stdout).toContain('"text":""');
  });

  it('names a few of many tasks with the same beginning, and how to see them all', async () => {
    queen.kept.summaries = Array.from({ length: 60 }, (_, index) => task({ job_id: `job-${index}` }));
    const { stderr } = await run('show', '--id', 'job-');
    expect(stderr).toContain('60 tasks have an id that begins with job-');
    expect(stderr).toContain('  job ids: job-55, job-56, job-57, job-58, job-59, and others\n');
    expect(stderr).toContain('Give more of the id: rbee-keeper tasks list');
  });

  it.each(['show', 'cancel'])('%s: an id that is not known is the queen’s to explain', async (verb) => {
    const { code, stdout, stderr } = await run(verb, '--id', 'job-nobody');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('there is no task job-nobody');
    expect(stderr).toContain('rbee-keeper tasks list');
    expect((await run(verb, '--id', 'a;b')).stderr).toContain('--id: ');
  });

  it('follows the text to its end, over lost connections, and leaves the task alone', async () => {
    queen.kept.summaries = [task()];
    queen.kept.keep(answerOf(['Once', ' upon', ' a', ' time']), [{ after: 4 }, { after: 2, half: true }]);
    const { code, stdout, stderr } = await run('show', '--id', 'job-7f3c', '--follow');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Once upon a time\n' });
    expect(stderr).toContain(`${MADE}\n  State: generating\n`);
    expect(stderr).toContain('done: 4 tokens');
    expect(queen.tasks).toEqual([]);
    expect(queen.canceled).toEqual([]);
    queen.kept.keep(answerOf(['x']));
    const followed = await run('show', '--id', MADE, '--follow', '--json');
    expect(JSON.parse(followed.stdout)).toMatchObject({ job_id: MADE, text: 'x' });
  });

  it('reports the end of a followed task that fails', async () => {
    queen.kept.summaries = [task()];
    queen.kept.onAttach = async (stream) => {
      stream.send({ type: 'token', t: 'Once', i: 0 });
      throw new RbeeError('WORKER_CRASHED', 'the worker ended');
    };
    const { code, stdout, stderr } = await run('show', '--id', MADE, '--follow');
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'Once\n' });
    expect(stderr).toContain('Error: the worker ended');
  });

  it('does not cancel what it follows with Ctrl+C', async () => {
    queen.kept.summaries = [task()];
    queen.kept.onAttach = async (stream, signal) => {
      stream.send({ type: 'token', t: 'Once', i: 0 });
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    const following = startKeeper(['tasks', 'show', '--id', MADE, '--follow'], { queenUrl: queen.url, input: '' });
    await following.stdout.waitFor(/Once/);
    following.signal();
    expect(await following.code).toBe(130);
    expect(queen.canceled).toEqual([]);
    expect(following.stdout.text).toBe('Once\n');
  });
});

describe('tasks cancel', () => {
  it('cancels one', async () => {
    queen.kept.summaries = [task()];
    expect(await run('cancel', '--id', 'job-7f3c')).toMatchObject({
      code: 0,
      stdout: `[queen-rbee] task ${MADE} is cancelled\n`,
    });
    expect(queen.canceled).toEqual([MADE]);
    const { stdout } = await run('cancel', '--id', MADE, '--json');
    expect(JSON.parse(stdout)).toEqual({ job_id: MADE, cancelled: true, state: 'cancelled' });
  });

  it('says so when it was over already', async () => {
    queen.kept.summaries = [task({ state: 'ended' })];
    const { code, stdout } = await run('cancel', '--id', MADE);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `[queen-rbee] task ${MADE} was over already (ended)\n` });
    expect(queen.canceled).toEqual([]);
  });
});
