import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { DownloadProgress, Model, ProgressEvent } from '@rbee/protocol';
import { DownloadTeller, type DownloadTellerOptions } from './download-teller.js';

const MB = 2 ** 20;
const LONG = 'hf:bartowski/Meta-Llama-3.1-70B-Instruct-GGUF:Q4_K_M';

function start(options: Partial<DownloadTellerOptions> = {}) {
  const clock = new ManualClock();
  const said: string[] = [];
  const progress: ProgressEvent[] = [];
  const listener: DownloadTellerOptions['listener'] = {
    narrate: ({ human }) => said.push(human),
    pass: (event) => event.type === 'progress' && progress.push(event),
  };
  const teller = new DownloadTeller({ clock, listener, modelRef: 'hf:org/m', node: 'b', ...options });
  return { clock, said, progress, teller };
}

const downloading = (megabytes: number, more: object = {}): DownloadProgress => ({
  ...{ stage: 'downloading', bytes_downloaded: megabytes * MB, bytes_total: 100 * MB, speed_mbps: 8, source: 'hub' },
  ...more,
});
const verified = { files: [{ name: 'm.gguf', size_bytes: 1, digest: 'a'.repeat(64) }] } as Pick<Model, 'files'>;

describe('DownloadTeller', () => {
  it('counts in the same megabytes as the bar', async () => {
    const { clock, said, teller } = start();
    teller.take(downloading(0));
    teller.take(downloading(100));
    await clock.advance(50_000);
    teller.end(verified);
    expect(said).toEqual([
      'downloading hf:org/m to b: 100.0 MB',
      'downloaded hf:org/m to b in 50 s (2.0 MB/s), SHA-256 verified',
    ]);
  });

  it('says from where a copy comes, and passes that on for the bar', () => {
    const { said, progress, teller } = start({ from: 'a' });
    teller.take(downloading(25, { source: 'node', resumed_from: 25 * MB }));
    expect(said).toEqual(['resuming hf:org/m from a to b at 25 % of 100.0 MB']);
    expect(progress).toMatchObject([{ phase: 'download', source: 'node' }]);
  });

  it('leaves a place in the line to the bar, and does not count the time there', async () => {
    const { clock, said, progress, teller } = start();
    teller.take({ stage: 'waiting', position: 2 });
    expect(said).toEqual([]);
    expect(progress).toMatchObject([{ stage: 'waiting', position: 2 }]);
    await clock.advance(60_000);
    teller.take(downloading(0));
    teller.take(downloading(100));
    await clock.advance(10_000);
    teller.end(verified);
    expect(said.at(-1)).toMatch(/ in 10 s \(10\.0 MB\/s\)/);
  });

  it('keeps what matters of a sentence that is too long', async () => {
    const { clock, said, teller } = start({ modelRef: LONG, node: 'workstation' });
    teller.take(downloading(0));
    teller.take({
      stage: 'retrying',
      attempt: 2,
      max_attempts: 6,
      delay_ms: 100,
      reason: 'the process that fetches from the hub ended with a reason that takes more words than there is room for',
    });
    await clock.advance(1_500);
    teller.end(verified);
    expect(said).toEqual([
      `downloading ${LONG} to workstation: 100.0 MB`,
      expect.stringMatching(/^the process .*…: attempt 2 of 6 in 100 ms$/),
      expect.stringMatching(/^downloaded .* to workstation in 1\.5 s/),
    ]);
    for (const sentence of said) expect(sentence.length).toBeLessThanOrEqual(100);
  });
});
