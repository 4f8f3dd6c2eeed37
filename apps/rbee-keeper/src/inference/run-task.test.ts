import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Clock, httpTransport, type Target } from '@rbee/daemon-kit/client';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { QueenClient } from '../queen/queen-client.js';
import { endEvent, hangAfterTwoTokens, ScriptedQueen } from '../testing/scripted-queen.js';
import { runTask } from './run-task.js';

let queen: ScriptedQueen;
let target: Target;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  target.transport.close();
  await queen.stop();
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

function start(clock: Clock, url = queen.url) {
  target = { transport: httpTransport({ name: 'queen-rbee', url }), clock };
  const never = new AbortController().signal;
  const client = new QueenClient({ target, timeoutMs: 1000, signal: never });
  const events: string[] = [];
  const task = runTask(
    client,
    { prompt: 'hi' },
    {
      clock,
      variables: { RBEE_NO_JITTER: '1' },
      jobId: 'job-1',
      correlationId: 'c',
      signal: never,
      cancelAckMs: 1000,
      onEvent: ({ type }) => void events.push(type),
    },
  );
  return { task, events };
}

describe('runTask', () => {
  it('survives what it does not know, and a stream that breaks behind its end', async () => {
    queen.script = async (_task, stream) => {
      stream.sendFrame('event: novelty\ndata: {"type":"novelty"}\n\n');
      stream.sendFrame('data: not even JSON\n\n');
      stream.sendFrame(': a comment\n\n');
      stream.sendFrame('event: token\r\ndata: {"type":"token",\r\ndata: "t":"a","i":0}\r\n\r\n');
      stream.send(endEvent(1));
      await until(() => events.includes('end'));
      queen.cut();
    };
    const { task, events } = start(new ManualClock());
    expect(await task).toMatchObject({ tokens_out: 1 });
    expect(events).toEqual(['token', 'end']);
  });

  it('tries again when the connection is refused, and only then', async () => {
    const clock = new ManualClock();
    const { task } = start(clock, 'http://127.0.0.1:1');
    const failed = expect(task).rejects.toMatchObject({ code: 'CONNECTION_TIMEOUT' });
    while (clock.monotonic() < Date.UTC(2030, 0, 1) + 300) {
      await clock.advance(10);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await failed;
    expect(queen.tasks).toHaveLength(0);
  });

  it('gives up on a queen that has fallen silent', async () => {
    queen.script = hangAfterTwoTokens;
    const clock = new ManualClock();
    const { task, events } = start(clock);
    const failed = expect(task).rejects.toMatchObject({
      code: 'WORKER_CONNECTION_LOST',
      message: 'queen-rbee does not answer any more',
    });
    await until(() => events.length === 2);
    queen.deaf = true;
    for (let seconds = 0; seconds < 90; seconds++) await clock.advance(1000);
    await failed;
  });

  it('stays with a queen that is silent but well', async () => {
    let finish: () => void = () => undefined;
    queen.script = async (_task, stream) => {
      stream.send({ type: 'token', t: 'a', i: 0 });
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      stream.send(endEvent(1));
    };
    const clock = new ManualClock();
    const { task, events } = start(clock);
    await until(() => events.length === 1);
    while (queen.probes < 5) {
      await clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    finish();
    expect(await task).toMatchObject({ tokens_out: 1 });
  });
});
