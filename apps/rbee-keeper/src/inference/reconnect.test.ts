import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { answerOf, endEvent, hangAfterTwoTokens, ScriptedQueen, serveKept } from '../testing/scripted-queen.js';
import { type KeeperOptions, removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const TEXTS = ['Once', ' upon', ' a', ' time', '.'];
const infer = (args: string[] = [], options: KeeperOptions = {}) =>
  runKeeper(['infer', '--prompt', 'hi', ...args], { queenUrl: queen.url, ...options });

describe('a queen that an operator starts anew', () => {
  it('is not noticed by whoever waits for an answer', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5, restart: true }]);
    queen.script = async (task, stream, signal) => {
      const restart = async () => {
        await queen.fall();
        queen.pid++;
        await queen.rise();
      };
      setTimeout(() => void restart(), 1);
      await serveKept(queen)(task, stream, signal);
    };
    const { code, stdout, stderr } = await infer();
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Once upon a time.\n' });
    expect(stderr).not.toContain('trying again');
    // The lease on the first one went down with it.
    expect(queen.released).toBe(1);
    expect(queen.leases.size).toBe(0);
  });

  it('is waited for in a conversation too, which goes on behind it', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = serveKept(queen);
    const { code, stdout } = await runKeeper(['chat'], { queenUrl: queen.url, input: 'one\ntwo\n' });
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Once upon a time.\nOnce upon a time.\n' });
    expect(queen.tasks.map(({ messages }) => messages?.length)).toEqual([1, 3]);
  });

  it('is told of after a second, and given up with what had come', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = async (task, stream, signal) => {
      setTimeout(() => void queen.fall(), 1);
      await serveKept(queen)(task, stream, signal);
    };
    const run = await infer(['--max-tokens', '20'], {
      variables: { RBEE_T_QUEEN_HEALTHY: '1500ms', RBEE_NO_JITTER: '1' },
    });
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 1, stdout: 'Once upon\n' });
    expect(run.stderr.match(/\[rbee-keeper\] queen-rbee does not answer; trying again\n/g)).toHaveLength(1);
    expect(run.stderr).toContain('[queen-rbee] Error: queen-rbee does not answer any more after 2 / 20 tokens\n');
    expect(run.stderr).toContain(`rbee-keeper tasks show --id ${queen.tasks[0]?.job_id}`);
    const [name = ''] = readdirSync(join(run.home, 'tmp'));
    expect(readFileSync(join(run.home, 'tmp', name), 'utf8')).toBe('Once upon\n');
  });

  it('does not keep a user who has had enough', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = async (task, stream, signal) => {
      setTimeout(() => void queen.fall(), 1);
      await serveKept(queen)(task, stream, signal);
    };
    const run = startKeeper(['infer', '--prompt', 'hi'], { queenUrl: queen.url, input: '' });
    await run.stderr.waitFor(/trying again/);
    const pressed = performance.now();
    run.signal();
    expect(await run.code).toBe(130);
    expect(performance.now() - pressed).toBeLessThan(1000);
    expect(run.stdout.text).toBe('Once upon\n');
    expect(run.stderr.text).toMatch(/Canceled\.\n$/);
  });
});

describe('what is told beside an answer', () => {
  it('is a line of its own on a terminal, when the worker changes in the middle', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'Once upon', i: 0 });
      const resumed = { type: 'narration', actor: 'queen-rbee', target: 'job' } as const;
      const human = 'worker-1 was lost after 1 token, going on with another worker';
      stream.send({ ...resumed, action: 'resume', level: 'warn', human });
      stream.send({ ...resumed, action: 'place', human: 'going on with worker-2 on localhost' });
      stream.send({ type: 'token', t: ' a time', i: 1 });
      stream.send({ type: 'token', t: '.', i: 2 });
      stream.send(endEvent(3));
    };
    const run = await infer(['--no-color'], { terminal: 'both' });
    expect(run.stdout).toBe('Once upon\n a time.\n');
    expect(run.screen).toMatch(
      /^\[queen-rbee\] worker-1 was lost[^\n]+\n\[queen-rbee\] going on with worker-2 on localhost\n\n\n\[inf/,
    );
  });

  it('ends the line of an answer once, also when the queen is lost for good', async () => {
    queen.kept.keep(answerOf(TEXTS), [{ after: 5 }]);
    queen.script = async (task, stream, signal) => {
      setTimeout(() => void queen.fall(), 1);
      await serveKept(queen)(task, stream, signal);
    };
    const variables = { RBEE_T_QUEEN_HEALTHY: '1500ms', RBEE_NO_JITTER: '1' };
    const run = await infer(['--no-color'], { terminal: 'both', variables });
    expect(run.stdout).toBe('Once upon\n');
    expect(run.screen).toMatch(/does not answer; trying again\n\[queen-rbee\] Error: /);
  });

  it('shows the queue in one line on a terminal, and lines elsewhere', async () => {
    queen.script = async (_task, stream) => {
      for (const position of [3, 2, 1])
        stream.send({ type: 'queued', position, eta_ms: position * 1000, reason: 'all slots are busy' });
      stream.send({ type: 'queued', position: 1, eta_ms: 141, reason: 'soon' });
      stream.send({ type: 'queued', position: 1, reason: `all slots of ${'w'.repeat(200)} are in use` });
      stream.send({ type: 'token', t: 'Hi', i: 0 });
      stream.send(endEvent(1));
    };
    const onTerminal = await infer(['--no-color'], { terminal: 'both' });
    expect(onTerminal.stderr.match(/place \d/g)).toEqual(['place 3', 'place 2', 'place 1', 'place 1', 'place 1']);
    // What does not fit into a line ends so that one sees it.
    expect(onTerminal.stderr).toMatch(/\(all slots of w+…(?!w)/);
    expect(onTerminal.screen).not.toContain('place');
    const elsewhere = await infer();
    expect(elsewhere.stderr).toContain('place 1 in the queue, less than 1 s (soon)\n');
    expect(elsewhere.stderr).toContain(
      '[queen-rbee] waiting: place 3 in the queue, about 3 s (all slots are busy)\n[queen-rbee] waiting: place 2',
    );
  });
});

describe('an error of the queue', () => {
  it('says when to come back, and nothing is tried again', async () => {
    queen.script = async () => {
      throw new RbeeError('QUEUE_FULL', '128 tasks are waiting', {
        details: { waiting: 128, retry_after_seconds: 12 },
      });
    };
    const { code, stderr } = await infer();
    expect(code).toBe(1);
    expect(stderr).toContain('[queen-rbee] Error: 128 tasks are waiting\n  code: QUEUE_FULL\n  waiting: 128\n\n');
    expect(stderr).toContain('Come back in about 12 s.\nSee what is in front: rbee-keeper tasks list\n');
    expect(queen.tasks).toHaveLength(1);
  });

  it('says what helps when the deadline cannot be met', async () => {
    queen.script = async () => {
      throw new RbeeError('DEADLINE_UNREACHABLE', 'the wait would be 90 s, and the task has 60 s');
    };
    const { stderr } = await infer(['--timeout', '60s']);
    expect(stderr).toContain('--timeout 10m');
  });
});

describe('flags of a task', () => {
  it.each<[string[], object]>([
    [[], { resume: true, priority: 'interactive', on_disconnect: 'cancel' }],
    [['--no-resume'], { resume: false }],
    [['--priority', 'batch', '--on-disconnect', 'keep'], { priority: 'batch', on_disconnect: 'keep' }],
  ])('%j', async (args, expected) => {
    expect((await infer(args)).code).toBe(0);
    expect(queen.tasks[0]).toMatchObject(expected);
  });

  it.each([
    [['--priority', 'urgent'], '--priority: must be one of interactive, batch'],
    [['--on-disconnect', 'stay'], '--on-disconnect: must be one of cancel, keep'],
  ])('%j is refused before anything is started', async (args, says) => {
    const { code, stderr } = await infer(args);
    expect(code).toBe(1);
    expect(stderr).toContain(says);
    expect(queen.leases.size + queen.released).toBe(0);
  });

  it('says why an answer could not go on elsewhere, with its file and its tokens', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'Once', i: 0, ids: [1, 2] });
      throw new RbeeError('WORKER_CRASHED', 'worker-1 ended while it generated after 2 tokens', {
        details: {
          worker_id: 'worker-1',
          tokens_out: 2,
          resume: 'RESUME_IMPOSSIBLE',
          resume_reason: 'no other node has the model',
        },
      });
    };
    const { code, stderr } = await infer(['--max-tokens', '20']);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'Error: worker-1 ended while it generated after 2 / 20 tokens; it could not go on at another worker: no other node has the model\n',
    );
    expect(stderr).toMatch(/\n {2}saved as: .*rbee-partial-/);
    expect(stderr).not.toMatch(/RESUME_IMPOSSIBLE|tokens out/);
  });

  it('counts the tokens once when a worker is lost to whoever wants no other one, and says what to leave out', async () => {
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'Once', i: 0, ids: [1] });
      throw new RbeeError('WORKER_CRASHED', 'the worker ended with signal SIGKILL, after 1 token', {
        details: { worker_id: 'worker-1', tokens_out: 1 },
        suggestion: 'repeat the request: another worker takes it',
      });
    };
    const { stderr } = await infer(['--no-resume']);
    expect(stderr).toContain('Error: the worker ended with signal SIGKILL, after 1 token\n');
    expect(stderr).toContain('\nRepeat the request: another worker takes it\nWithout --no-resume an answer goes on');
    expect((await infer()).stderr).not.toContain('--no-resume');
  });

  it('leaves a kept task to itself when the terminal is closed', async () => {
    queen.script = async (task, stream, signal) => {
      stream.send({ type: 'accepted', job_id: task.job_id ?? '', correlation_id: 'c', model: 'm' });
      await hangAfterTwoTokens(task, stream, signal);
    };
    const run = startKeeper(['infer', '--prompt', 'hi', '--on-disconnect', 'keep'], { queenUrl: queen.url, input: '' });
    await run.stdout.waitFor(/upon/);
    expect(run.stderr.text).toContain(`rbee-keeper tasks show --id ${queen.tasks[0]?.job_id} --follow`);
    run.signal('SIGHUP');
    expect(await run.code).toBe(130);
    expect(queen.canceled).toEqual([]);
    expect(run.stderr.text).toMatch(/\nThe task goes on: rbee-keeper tasks show --id \S+ --follow\n$/);
    expect(run.stderr.text).not.toContain('Canceled');
  });
});
