import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { identify } from '@rbee/daemon-kit';
import { ScriptedHive } from './testing/scripted-hive.js';
import { type SentEvent, TestQueen } from './testing/test-queen.js';

const TINY_HIVE = fileURLToPath(new URL('./testing/tiny-hive.mjs', import.meta.url));

describe('the hive of this machine', () => {
  let hivePort: number;
  let queen: TestQueen;

  beforeEach(async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    hivePort = (server.address() as AddressInfo).port;
    await new Promise((resolve) => server.close(resolve));
  });
  afterEach(() => queen.stop());

  const start = async (behaviour: string) => {
    const hiveProgram = { command: process.execPath, args: [TINY_HIVE, behaviour] };
    queen = await TestQueen.start({ hivePort, hiveProgram, variables: process.env });
  };
  const pidOf = (events: SentEvent[]) => {
    const said = events.map(({ human }) => String(human)).join('\n');
    return Number(/started \(pid (\d+)\)/.exec(said)?.[1]);
  };

  it('is started by the first task, as an owned child, once for all tasks, and ended with the queen', async () => {
    await start('healthy');
    const answers = await Promise.all([queen.task(), queen.task(), queen.task()]);
    const all = await Promise.all(answers.map((answer) => answer.all));
    const pids = all.map(pidOf);
    expect(new Set(pids).size).toBe(1);
    expect(identify(Number(pids[0]))).toBeDefined();
    for (const events of all) {
      const narrated = events.filter(({ action }) => action === 'hive_start');
      expect(narrated).toHaveLength(2);
      const own = events[0]?.correlation_id;
      for (const { correlation_id } of narrated) expect(correlation_id).toBe(own);
      // The tiny hive knows nothing but its health: what follows fails, in the way the error says.
      expect(events.at(-2)).toMatchObject({ type: 'error', code: 'INVALID_RESPONSE', status: 502 });
    }
    const output = readFileSync(join(queen.logDir, 'rbee-hive.out.log'), 'utf8');
    expect(output).toBe(`tiny hive: daemon --port ${hivePort} --owned\n`);
    await queen.beginStop();
    expect(identify(Number(pids[0]))).toBeUndefined();
  });

  it('is started anew for the same task when it is killed while it starts', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'killed-hive-'));
    try {
      await start(`killed:${join(folder, 'once')}`);
      const events = await (await queen.task()).all;
      expect(events.filter(({ action }) => action === 'retry')).toMatchObject([
        { level: 'warn', human: expect.stringContaining('ended before it was healthy (SIGKILL)') },
      ]);
      expect(pidOf(events)).toBeGreaterThan(0);
      expect(events.at(-2)).toMatchObject({ type: 'error', code: 'INVALID_RESPONSE' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is started although the log folder was removed', async () => {
    await start('healthy');
    rmSync(queen.logDir, { recursive: true });
    const events = await (await queen.task()).all;
    expect(pidOf(events)).toBeGreaterThan(0);
    expect(readFileSync(join(queen.logDir, 'rbee-hive.out.log'), 'utf8')).toContain('tiny hive');
  });

  it('is ended when the queen is told to stop while it starts it', async () => {
    await start('silent');
    const answer = await queen.task();
    await answer.until('narration');
    await queen.beginStop();
    expect((await answer.all).at(-2)).toMatchObject({ type: 'error', code: 'CANCELLED' });
    expect(await queen.ended).toBe(0);
  });

  it('stays when it was there before', async () => {
    const hive = await new ScriptedHive().start(hivePort);
    await start('healthy');
    try {
      const events = await (await queen.task()).all;
      expect(events.filter(({ action }) => action === 'hive_start')).toEqual([]);
      expect(events.at(-2)).toMatchObject({ type: 'end' });
      await queen.beginStop();
      expect((await fetch(`http://127.0.0.1:${hivePort}/v1/health`)).status).toBe(200);
    } finally {
      await hive.stop();
    }
  });
});
