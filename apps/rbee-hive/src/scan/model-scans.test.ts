import { expect, it } from '@jest/globals';
import { orAborted } from '@rbee/daemon-kit';
import type { ScanResult } from '@rbee/protocol';
import { ModelScans } from './model-scans.js';

const empty: ScanResult = { added: [], removed: [], changed: [], refused: [], removed_partials: [] };

/** Scans that end when the test says so; `log` tells what they did. */
function controlled() {
  const log: string[] = [];
  const finish: ((result: ScanResult) => void)[] = [];
  const scans = new ModelScans(async (signal) => {
    log.push('begun');
    try {
      return await orAborted(new Promise<ScanResult>((resolve) => finish.push(resolve)), signal);
    } catch (error) {
      log.push('aborted');
      throw error;
    }
  });
  return { log, finish, scans };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const named = (name: string): ScanResult => ({ ...empty, refused: [{ name, reason: '' }] });

it('runs one at a time, and those who ask meanwhile share the one that follows', async () => {
  const { log, finish, scans } = controlled();
  const first = scans.scan();
  await turn();
  const later = [scans.scan(), scans.scan()];
  await turn();
  expect(log).toEqual(['begun']);
  finish[0]?.(named('first'));
  expect(await first).toEqual(named('first'));
  await turn();
  expect(log).toEqual(['begun', 'begun']);
  finish[1]?.(named('second'));
  expect(await Promise.all(later)).toEqual([named('second'), named('second')]);
  const third = scans.scan();
  await turn();
  finish[2]?.(empty);
  expect(await third).toEqual(empty);
});

it('is aborted when the last one who waits for it has gone, and not before', async () => {
  const { log, scans } = controlled();
  const [one, two] = [new AbortController(), new AbortController()];
  const running = scans.scan(one.signal);
  await turn();
  const waiting = scans.scan(two.signal);
  two.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  expect(log).toEqual(['begun']);
  const again = scans.scan();
  one.abort(new Error('gone too'));
  await expect(running).rejects.toThrow('gone too');
  await turn();
  expect(log).toEqual(['begun', 'aborted', 'begun']);
  const ended = expect(again).rejects.toMatchObject({ code: 'CANCELLED' });
  await scans.close();
  await ended;
});

it('goes on with the next one after a failure', async () => {
  let calls = 0;
  const scans = new ModelScans(async () => {
    if (calls++ === 0) throw new Error('no catalog');
    return empty;
  });
  const failed = expect(scans.scan()).rejects.toThrow('no catalog');
  await expect(scans.scan()).resolves.toEqual(empty);
  await failed;
});

it('takes no more when it is closed', async () => {
  const { scans } = controlled();
  await scans.close();
  await expect(scans.scan()).rejects.toMatchObject({ code: 'CANCELLED' });
});
