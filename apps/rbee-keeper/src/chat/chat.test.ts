import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Message, RbeeError } from '@rbee/protocol';
import { endEvent, hangAfterTwoTokens, ScriptedQueen, type TaskScript } from '../testing/scripted-queen.js';
import { removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
  queen.script = echo;
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

/** Answers with the number of messages and the last one. */
const echo: TaskScript = async ({ messages }, stream) => {
  stream.send({ type: 'narration', actor: 'rbee-hive', action: 'x', target: 'y', human: 'thinking' });
  stream.send({ type: 'token', t: `${messages?.length}: ${messages?.at(-1)?.content}`, i: 0 });
  stream.send(endEvent(1));
};

const said = (index: number) =>
  queen.tasks[index]?.messages?.map(({ role, content }: Message) => `${role}: ${content}`);
const chat = (input: string, ...args: string[]) => runKeeper(['chat', ...args], { queenUrl: queen.url, input });

describe('a piped conversation', () => {
  it('takes every line for a turn and remembers what was said, on one lease', async () => {
    const { code, stdout, stderr } = await chat('hello\nagain\n', '--system', 'Be brief.');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '2: hello\n4: again\n' });
    expect(said(1)).toEqual(['system: Be brief.', 'user: hello', 'assistant: 2: hello', 'user: again']);
    expect(queen.released).toBe(1);
    expect(stderr).not.toContain('> ');
    expect(stderr).toContain('done: 1 token in 1234 ms');
  });

  it('understands texts of several lines', async () => {
    expect((await chat('"""\na\nb\n"""\nc\\\nd\n')).stdout).toBe('1: a\nb\n3: c\nd\n');
  });

  it('takes what is left at the end for a turn', async () => {
    expect((await chat('"""\nno end')).stdout).toBe('1: no end\n');
  });

  it('prints one object per answer with --json', async () => {
    const { stdout, stderr } = await chat('hello\n/history\nagain\n', '--json');
    const answers = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers).toMatchObject([
      { role: 'assistant', text: '1: hello', tokens_out: 1 },
      { role: 'assistant', text: '3: again', prompt_tokens: 9 },
    ]);
    expect(stderr).toContain('user: hello');
  });

  it('goes on after a turn that failed, without it, and tells at the end', async () => {
    let turn = 0;
    queen.script = async (task, stream, signal) => {
      if (++turn === 2) throw new RbeeError('CONTEXT_LENGTH_EXCEEDED', 'too long');
      await echo(task, stream, signal);
    };
    const { code, stdout, stderr } = await chat('one\ntwo\nthree\n');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '1: one\n3: three\n' });
    expect(stderr).toContain('too long');
    expect(said(2)).toEqual(['user: one', 'assistant: 1: one', 'user: three']);
  });

  it('does what slash commands say', async () => {
    const { code, home, stdout, stderr } = await chat(
      [
        '/system Be kind.',
        'one',
        '/retry',
        '/model hf:org/other',
        '/model nonsense',
        'two',
        '/save talk.json',
        '/reset',
        '/retry',
        'three',
        '/exit',
        'never said',
      ].join('\n'),
    );
    expect(code).toBe(0);
    expect(stdout).toBe('2: one\n2: one\n4: two\n2: three\n');
    expect(queen.tasks.map((task) => task.model)).toEqual([
      'builtin:honeycomb',
      'builtin:honeycomb',
      'hf:org/other',
      'hf:org/other',
    ]);
    const saved = JSON.parse(readFileSync(join(home, 'talk.json'), 'utf8'));
    expect(saved.map(({ content }: Message) => content)).toEqual(['Be kind.', 'one', '2: one', 'two', '4: two']);
    expect(stderr).toContain('INVALID_MODEL_REF');
    expect(stderr).toContain('There is nothing to answer again.');
  });

  it('keeps the old answer when there is no new one', async () => {
    let turn = 0;
    queen.script = async (task, stream, signal) => {
      if (++turn === 2) throw new RbeeError('QUEUE_FULL', 'full');
      await echo(task, stream, signal);
    };
    await chat('one\n/retry\ntwo\n');
    expect(said(2)).toEqual(['user: one', 'assistant: 1: one', 'user: two']);
  });

  it('ends with 130 on Ctrl+C', async () => {
    const run = startKeeper(['chat'], { queenUrl: queen.url });
    run.stdin.write('hello\n');
    await run.stdout.waitFor(/1: hello\n/);
    await run.stderr.waitFor(/done/);
    run.signal('SIGTERM');
    expect(await run.code).toBe(130);
    expect(queen.released).toBe(1);
  });

  it('ends quietly when its reader has gone', async () => {
    const run = startKeeper(['chat', '--quiet'], { queenUrl: queen.url, input: 'a\n'.repeat(50) });
    run.stdout.failWith('EPIPE');
    expect(await run.code).toBe(0);
    expect(queen.tasks.length).toBeLessThan(5);
  });
});

describe('a conversation on a terminal', () => {
  const open = () => startKeeper(['chat', '--no-color'], { queenUrl: queen.url, terminal: 'all' });

  it('shows prompts beside the text, figures below it, and narration only for a moment', async () => {
    const run = open();
    await run.stderr.waitFor(/> /);
    run.stdin.write('hello\r');
    await run.stderr.waitFor(/done: [^\n]+\n[\s\S]*> /);
    run.stdin.write('\u0004');
    expect(await run.code).toBe(0);
    expect(run.stdout.text).toBe('1: hello\n');
    expect(run.stderr.text).toContain('/help');
    expect(run.stderr.text).toContain('[rbee-hive] thinking');
    expect(run.stderr.screen).not.toContain('thinking');
  });

  it('cancels the answer only with Ctrl+C, and keeps what had come', async () => {
    queen.script = hangAfterTwoTokens;
    const run = open();
    await run.stderr.waitFor(/> /);
    run.stdin.write('tell\r');
    await run.stdout.waitFor(/upon/);
    run.signal();
    await run.stderr.waitFor(/Canceled\.[\s\S]*> /);
    expect(queen.canceled).toEqual([queen.tasks[0]?.job_id]);
    queen.script = echo;
    run.stdin.write('go on\r');
    await run.stdout.waitFor(/3: go on/);
    expect(said(1)).toEqual(['user: tell', 'assistant: Once upon', 'user: go on']);
    run.stdin.write('/exit\r');
    expect(await run.code).toBe(0);
  });

  it('leaves with the second Ctrl+C at the prompt', async () => {
    const run = open();
    await run.stderr.waitFor(/> /);
    run.stdin.write('\u0003');
    await run.stderr.waitFor(/Ctrl\+C again[\s\S]*> /);
    expect(queen.leases.size).toBe(1);
    run.stdin.write('\u0003');
    expect(await run.code).toBe(0);
    expect(queen.released).toBe(1);
  });

  it('finds the next queen when one is lost', async () => {
    const run = open();
    await run.stderr.waitFor(/> /);
    queen.cut();
    await queen.whenUnleased();
    run.stdin.write('hello\r');
    await run.stdout.waitFor(/1: hello/);
    run.stdin.write('/exit\r');
    expect(await run.code).toBe(0);
    expect(queen.released).toBe(2);
  });
});
