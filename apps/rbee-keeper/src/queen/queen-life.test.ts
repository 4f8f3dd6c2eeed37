import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ScriptedQueen } from '../testing/scripted-queen.js';
import { removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';
import { TinyQueenPlace } from '../testing/tiny-queen.js';

const places: TinyQueenPlace[] = [];

async function place(mood?: string, variables?: Record<string, string>): Promise<TinyQueenPlace> {
  const made = await TinyQueenPlace.create(mood, variables);
  places.push(made);
  return made;
}

afterEach(async () => {
  for (const used of places.splice(0)) await used.clear();
  removeFolders();
});

describe('a command that finds no queen', () => {
  it('starts one that ends with it, and waits for its end', async () => {
    const here = await place();
    const { code, stdout, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'No workers.\n' });
    expect(stderr).toContain(`[rbee-keeper] starting queen-rbee on port ${here.port}\n`);
    expect(here.starts.map(({ args }) => args)).toEqual([`daemon --port ${here.port} --ephemeral`]);
    expect(here.running).toEqual([]);
    expect(readFileSync(join(here.home, '.rbee', 'logs', 'queen-rbee.out.log'), 'utf8')).toBe('');
  });

  it('hands its configuration on', async () => {
    const here = await place('', { RBEE_KEEP_ALIVE: '10m' });
    writeFileSync(join(here.home, 'rbee.toml'), '[queen]\n');
    await runKeeper(['workers', 'list', '--config', 'rbee.toml'], here.options);
    const config = join(here.home, 'rbee.toml');
    expect(here.starts[0]?.args).toBe(
      `daemon --port ${here.port} --ephemeral --keep-alive 600000ms --config ${config}`,
    );
  });

  it('keeps what the queen writes in the folder of the logs that is configured', async () => {
    const here = await place('', { RBEE_LOG_DIR: 'elsewhere/logs' });
    await runKeeper(['workers', 'list'], here.options);
    expect(existsSync(join(here.home, 'elsewhere', 'logs', 'queen-rbee.out.log'))).toBe(true);
    expect(existsSync(join(here.home, '.rbee'))).toBe(false);
  });

  it('shares one queen with another command that starts at the same moment', async () => {
    const here = await place();
    const both = await Promise.all([1, 2, 3].map(() => runKeeper(['workers', 'list'], here.options)));
    expect(both.map(({ code, stdout }) => [code, stdout])).toEqual(both.map(() => [0, 'No workers.\n']));
    expect(await here.isEmpty()).toBe(true);
  });

  it('replaces a queen that ends before it can be used', async () => {
    const here = await place('refuse-first-lease');
    const { code, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect(code).toBe(0);
    expect(here.starts).toHaveLength(2);
    expect(stderr).toContain(`waiting for queen-rbee (pid ${here.starts[0]?.pid}), which is ending`);
    expect(await here.isEmpty()).toBe(true);
  });

  it('starts another one in its place when it is killed in the middle of an answer', async () => {
    const here = await place('die-in-answer');
    const { code, stdout, stderr } = await runKeeper(['infer', '--prompt', 'hi'], here.options);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Once upon a time.\n' });
    expect(here.starts.map(({ args }) => args)).toEqual([1, 2].map(() => `daemon --port ${here.port} --ephemeral`));
    expect(stderr).not.toContain('Error');
    expect(await here.isEmpty()).toBe(true);
  });

  it('says that whatever holds the port does not answer', async () => {
    const here = await place('', { RBEE_T_QUEEN_HEALTHY: '3s' });
    const mute = createServer(() => undefined).listen(here.port, '127.0.0.1');
    await new Promise((resolve) => mute.once('listening', resolve));
    const { code, stdout } = await runKeeper(['workers', 'list', '--json'], here.options);
    mute.closeAllConnections();
    await new Promise((resolve) => mute.close(resolve));
    expect(code).toBe(1);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'QUEEN_UNREACHABLE', details: { port: here.port } });
    expect(here.running).toEqual([]);
  });

  it('says why a queen could not be started, with its last output', async () => {
    const here = await place('crash');
    const { code, stdout, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('QUEEN_START_FAILED');
    expect(stderr).toContain('it ended with exit code 3');
    expect(stderr).toContain('    the database is broken');
    expect(stderr).toContain('queen-rbee.out.log');
  });

  it('gives up on a queen that never answers, and ends it', async () => {
    const here = await place('mute', { RBEE_T_QUEEN_HEALTHY: '1500ms' });
    const { code, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect(code).toBe(1);
    expect(stderr).toContain('QUEEN_START_FAILED');
    expect(here.starts).toHaveLength(1);
    expect(here.running).toEqual([]);
  });

  it('kills a queen of its own that does not end, and warns', async () => {
    const here = await place('linger', { RBEE_T_KEEPER_WAITS_FOR_QUEEN: '200ms' });
    const { code, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect(code).toBe(0);
    expect(stderr).toContain('did not end within 200 ms and was killed: processes that it started may remain');
    expect(await here.isEmpty()).toBe(true);
  });

  it('is not kept waiting by a user who has had enough', async () => {
    const here = await place('linger');
    const run = startKeeper(['workers', 'list'], here.options);
    await run.stderr.waitFor(/waiting for queen-rbee/);
    run.signal();
    expect(await run.code).toBe(130);
  });

  it('leaves no queen behind when it is interrupted while that starts', async () => {
    const here = await place();
    const run = startKeeper(['workers', 'list'], here.options);
    await run.stderr.waitFor(/starting queen-rbee/);
    run.signal();
    expect(await run.code).toBe(130);
    expect(run.stdout.text).toBe('');
    expect(here.starts).toHaveLength(1);
    expect(await here.isEmpty()).toBe(true);
  });

  it('starts none with --no-spawn', async () => {
    const here = await place();
    const { code, stderr } = await runKeeper(['workers', 'list', '--no-spawn'], here.options);
    expect(code).toBe(1);
    expect(stderr).toContain('QUEEN_UNREACHABLE');
    expect(stderr).toContain('rbee-keeper queen start');
    expect(here.starts).toEqual([]);
  });

  it('starts none when the home folder cannot be written', async () => {
    const here = await place();
    writeFileSync(join(here.home, '.rbee'), '');
    const { code, stderr } = await runKeeper(['workers', 'list'], here.options);
    expect(code).toBe(1);
    expect(stderr).toContain('CONFIG_INVALID');
    expect(here.starts).toEqual([]);
  });
});

describe('a queen that is there already', () => {
  it('is left alone when it is persistent', async () => {
    const here = await place();
    const started = await runKeeper(['queen', 'start'], here.options);
    expect(started.code).toBe(0);
    expect(here.starts[0]?.args).toBe(`daemon --port ${here.port}`);
    expect(started.stdout).toBe(
      `[rbee-keeper] queen-rbee runs at http://127.0.0.1:${here.port} (pid ${here.starts[0]?.pid})\n`,
    );
    expect((await runKeeper(['workers', 'list'], here.options)).stderr).not.toContain('starting');
    expect(here.running).toHaveLength(1);

    const again = await runKeeper(['queen', 'start'], here.options);
    expect([again.code, again.stdout]).toEqual([0, started.stdout.replace('runs', 'runs already')]);
    const status = await runKeeper(['queen', 'status', '--json'], here.options);
    expect(JSON.parse(status.stdout)).toMatchObject({ running: true, answers: true, pid: here.starts[0]?.pid });

    const stopped = await runKeeper(['queen', 'stop'], here.options);
    expect([stopped.code, stopped.stdout]).toEqual([
      0,
      `[rbee-keeper] queen-rbee (pid ${here.starts[0]?.pid}) has ended\n`,
    ]);
    expect(here.running).toEqual([]);
    expect((await runKeeper(['queen', 'stop'], here.options)).stdout).toContain('no queen runs');
    expect((await runKeeper(['queen', 'status'], here.options)).stdout).toContain('no queen runs');
    expect(here.starts).toHaveLength(1);
  });

  it('is replaced by `queen start` when it ends with its clients, unless it has others', async () => {
    const here = await place();
    const reading = startKeeper(['chat'], { ...here.options, input: undefined });
    reading.stdin.write('hello\n');
    await reading.stderr.waitFor(/no such route/);
    const refused = await runKeeper(['queen', 'start'], here.options);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('ends with the commands that use it');
    reading.stdin.end();
    expect(await reading.code).toBe(1);
    expect((await runKeeper(['queen', 'start'], here.options)).code).toBe(0);
    expect(here.starts.map(({ args }) => args.includes('--ephemeral'))).toEqual([true, false]);
    expect((await runKeeper(['queen', 'stop'], here.options)).code).toBe(0);
  });

  it('is refused when it has another version', async () => {
    const queen = await ScriptedQueen.start();
    try {
      queen.version = '0.2.0';
      const { code, stderr } = await runKeeper(['workers', 'list'], { queenUrl: queen.url });
      expect(code).toBe(1);
      expect(stderr).toContain('rbee-keeper 0.1.0 and queen-rbee 0.2.0 do not fit together');
      expect(stderr).toContain('Upgrade rbee-keeper to 0.2.0');
      expect(queen.released + queen.leases.size).toBe(0);
    } finally {
      await queen.stop();
    }
  });

  it('is not taken for one when another program answers', async () => {
    const server = createServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as { port: number };
      const { code, stderr } = await runKeeper(['infer', '--prompt', 'hi'], { queenUrl: `http://127.0.0.1:${port}` });
      expect(code).toBe(1);
      expect(stderr).toContain(`another program than queen-rbee answers at http://127.0.0.1:${port}`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});
