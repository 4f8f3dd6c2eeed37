import { describe, expect, it } from '@jest/globals';
import type { ProgressEvent } from '@rbee/protocol';
import { plainPalette } from '../palette.js';
import { type AnyProgress, describeProgress, renderProgressBar, renderProgressText } from './progress-line.js';

const MIB = 2 ** 20;
const download: ProgressEvent = {
  type: 'progress',
  phase: 'download',
  bytes_downloaded: 2 * MIB,
  bytes_total: 5 * MIB,
  speed_mbps: 46.976,
  eta_seconds: 75,
};
const waiting: ProgressEvent = { type: 'progress', phase: 'download', stage: 'waiting' };
const upload: AnyProgress = {
  type: 'progress',
  phase: 'upload',
  bytes_done: 2 * MIB,
  bytes_total: 5 * MIB,
  bytes_per_second: MIB / 2,
};
const load: ProgressEvent = { type: 'progress', phase: 'load', layers_loaded: 24, layers_total: 32 };

describe('renderProgressText', () => {
  it.each<[string, AnyProgress, string]>([
    ['an upload', upload, 'uploading 40 % (2.0 of 5.0 MB, 0.5 MB/s, 6 s left)'],
    [
      'an upload that has just begun',
      { ...upload, bytes_done: 0, bytes_per_second: 0 },
      'uploading 0 % (0.0 of 5.0 MB)',
    ],
    ['a download', download, 'downloading 40 % (2.0 of 5.0 MB, 5.6 MB/s, 1 min 15 s left)'],
    [
      'one that went on from the bytes of an earlier attempt',
      { ...download, resumed_from: 1.5 * MIB, eta_seconds: undefined },
      'downloading 40 % (2.0 of 5.0 MB, 5.6 MB/s, resumed at 30 %)',
    ],
    [
      'one from the beginning',
      { ...download, resumed_from: 0, eta_seconds: 1.2 },
      'downloading 40 % (2.0 of 5.0 MB, 5.6 MB/s, 2 s left)',
    ],
    [
      'one that has just begun, whose speed is not known',
      { ...download, bytes_downloaded: 0, speed_mbps: 0, eta_seconds: undefined },
      'downloading 0 % (0.0 of 5.0 MB)',
    ],
    [
      'one with a limit',
      { ...download, throttled: true },
      'downloading 40 % (2.0 of 5.0 MB, 5.6 MB/s throttled, 1 min 15 s left)',
    ],
    ['a copy', { ...download, source: 'node' }, 'copying 40 % (2.0 of 5.0 MB, 5.6 MB/s, 1 min 15 s left)'],
    [
      'a large one',
      { ...download, bytes_downloaded: 2 ** 30, bytes_total: 40 * 2 ** 30, eta_seconds: 7259.5 },
      'downloading 2 % (1.00 of 40.00 GB, 5.6 MB/s, 2 h 1 min left)',
    ],
    [
      'almost a minute',
      { ...download, eta_seconds: 119.6 },
      'downloading 40 % (2.0 of 5.0 MB, 5.6 MB/s, 2 min 0 s left)',
    ],
    ['one that waits', waiting, 'waiting (other downloads come first)'],
    ['the next in line', { ...waiting, position: 1 }, 'waiting (next in line)'],
    ['the second in line', { ...waiting, position: 2 }, 'waiting (1 download in front)'],
    ['the third in line', { ...waiting, position: 3 }, 'waiting (2 downloads in front)'],
    ['the check at the end', { ...waiting, stage: 'verifying' }, 'verifying'],
    [
      'a download of unknown size',
      { ...download, bytes_total: undefined },
      'downloading (2.0 MB, 5.6 MB/s, 1 min 15 s left)',
    ],
    ['loading', load, 'loading 75 % (layers 24 of 32)'],
    ['loading onto a device', { ...load, vram_mb: 512.4 }, 'loading 75 % (layers 24 of 32, 512 MB of device memory)'],
    ['loading without figures', { type: 'progress', phase: 'load' }, 'loading'],
    ['almost everything', { ...load, layers_loaded: 999, layers_total: 1000 }, 'loading 99 % (layers 999 of 1000)'],
    [
      'an empty file',
      { ...download, bytes_downloaded: 0, bytes_total: 0 },
      'downloading (0.0 of 0.0 MB, 5.6 MB/s, 1 min 15 s left)',
    ],
  ])('%s', (_name, event, text) => {
    expect(renderProgressText(describeProgress(event))).toBe(text);
  });
});

describe('renderProgressBar', () => {
  const moment = describeProgress(load);

  it('fills the bar in proportion', () => {
    const line = renderProgressBar(moment, 100, plainPalette);
    expect(line).toMatch(/^\[model-loader\] loading █+░+ {2}75 % layers 24 of 32$/);
    expect([...line.matchAll(/█/g)]).toHaveLength(23);
    expect([...line.matchAll(/░/g)]).toHaveLength(7);
  });

  it.each([20, 40, 60, 61, 62, 70, 80, 120])('never reaches the last of %d columns', (columns) => {
    for (const event of [load, upload, download, { ...download, bytes_total: undefined }]) {
      expect(renderProgressBar(describeProgress(event), columns, plainPalette).length).toBeLessThan(columns);
    }
  });

  it.each([
    [
      110,
      /^\[model-provisioner\] downloading █+░+ {2}40 % 2\.0 of 5\.0 MB, 5\.6 MB\/s, 1 min 15 s left, resumed at 20 %$/,
    ],
    [100, /^downloading █+░+ {2}40 % 2\.0 of 5\.0 MB, 5\.6 MB\/s, 1 min 15 s left, resumed at 20 %$/],
    [80, /^downloading █+░+ {2}40 % 2\.0 of 5\.0 MB, 5\.6 MB\/s, 1 min 15 s left$/],
    [60, /^\[model-provisioner\] downloading 40 % \(2\.0 of 5\.0 MB, 5\.6 MB/],
  ])('keeps what matters most in %d columns', (columns, expected) => {
    const resumed = describeProgress({ ...download, resumed_from: MIB });
    expect(renderProgressBar(resumed, columns, plainPalette)).toMatch(expected);
  });

  it('leaves out the actor before the bar', () => {
    expect(renderProgressBar(moment, 50, plainPalette)).toMatch(/^loading █+░+ {2}75 % layers 24 of 32$/);
  });

  it('goes without a bar where there is no room', () => {
    expect(renderProgressBar(moment, 30, plainPalette)).toBe('[model-loader] loading 75 % (');
  });
});
