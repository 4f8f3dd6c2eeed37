import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { identify, type ProcessIdentity } from '@rbee/daemon-kit';
import { runCommand } from '../../test/run-command.js';
import { RunFiles } from '../workers/run-files.js';

const children: ReturnType<typeof spawn>[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process that says when it is ready to get its signal. */
async function startProgram(onSigterm: string): Promise<ProcessIdentity> {
  const text = `process.on('SIGTERM', () => { ${onSigterm} }); setInterval(() => {}, 1000); process.stdout.write('x')`;
  const child = spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
  return identify(child.pid as number) as ProcessIdentity;
}

const home = mkdtempSync(join(tmpdir(), 'rbee-stop-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const stop = ({ pid, startTime }: ProcessIdentity, ...more: string[]) =>
  runCommand(['stop', '--pid', String(pid), '--start-time', String(startTime), ...more], { home });

describe('stop', () => {
  it('ends a process', async () => {
    const { code, stdout } = await stop(await startProgram('process.exit(0)'));
    expect([code, JSON.parse(stdout)]).toEqual([0, { ended: true, killed: false, was_running: true }]);
  });

  it('kills one that does not end in time', async () => {
    const { code, stdout } = await stop(await startProgram(''), '--grace', '50ms');
    expect([code, JSON.parse(stdout)]).toEqual([0, { ended: true, killed: true, was_running: true }]);
  });

  it('also ends the workers of one that it kills, and those of no other hive', async () => {
    const [hive, worker, other] = await Promise.all([
      startProgram(''),
      startProgram('process.exit(0)'),
      startProgram('process.exit(0)'),
    ]);
    const files = new RunFiles(join(home, '.rbee', 'run', 'workers'));
    const facts = { modelRef: 'builtin:honeycomb', port: 8001 };
    files.writeRecord({ ...facts, workerId: 'worker-left', process: worker, hive });
    files.writeRecord({ ...facts, workerId: 'worker-other', process: other, hive: other });
    expect((await stop(hive, '--grace', '50ms')).code).toBe(0);
    expect([worker, other].map(({ pid }) => identify(pid))).toEqual([undefined, other]);
    expect(files.readRecords().map(({ workerId }) => workerId)).toEqual(['worker-other']);
  });

  it('leaves a process alone that got the pid later', async () => {
    const program = await startProgram('process.exit(0)');
    const { code, stdout } = await stop({ ...program, startTime: '1' });
    expect([code, JSON.parse(stdout)]).toEqual([0, { ended: true, killed: false, was_running: false }]);
    expect(identify(program.pid)).toEqual(program);
  });

  it.each([
    [[]],
    [['--pid', '5']],
    [['--start-time', '5']],
    [['--pid', '0', '--start-time', '5']],
    [['--pid', '1', '--start-time', '5']],
    [['--pid=-1', '--start-time', '5']],
    [['--pid', '99999999999', '--start-time', '5']],
    [['--pid', '5;reboot', '--start-time', '5']],
    [['--pid', '5', '--start-time', '']],
    [['--pid', '5', '--start-time', '$(reboot)']],
    [['--pid', '5', '--start-time', '5\n6']],
    [['--pid', '5', '--start-time', '5', '--grace', 'soon']],
    [['--pid', '5', '--start-time', '5', '--grace', '2h']],
    [['--pid', '5', '--start-time', '5', '--port', '9200']],
  ])('refuses %j', async (args) => {
    const { code, stdout, stderr } = await runCommand(['stop', ...args], { home });
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^\[rbee-hive\] Error: .+\n\nUsage: rbee-hive stop /);
  });
});
