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
  speed_mbps: 44.8,
  eta_seconds: 75,
};
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

  it('goes without a bar where there is no room', () => {
    expect(renderProgressBar(moment, 50, plainPalette)).toBe('[model-loader] loading 75 % (layers 24 of 32)');
  });
});
