import { describe, expect, it } from '@jest/globals';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { Output } from '../output.js';
import { CapturedSink } from '../testing/captured-sink.js';
import { environmentWith } from '../testing/start-keeper.js';
import { ProgressDisplay } from './progress-display.js';

function show(isTerminal: boolean) {
  const clock = new ManualClock();
  const stderr = new CapturedSink(isTerminal);
  const output = new Output(environmentWith({ stderr }), { json: false, verbose: false, noColor: true });
  const display = new ProgressDisplay(output, clock);
  const load = (layers: number) =>
    display.update({ type: 'progress', phase: 'load', layers_loaded: layers, layers_total: 100 });
  return { clock, stderr, output, display, load };
}

describe('ProgressDisplay', () => {
  it('writes a line per 10 % into a pipe', () => {
    const { stderr, load } = show(false);
    for (let layers = 0; layers <= 100; layers++) load(layers);
    const percents = [...stderr.text.matchAll(/loading (\d+) %/g)].map(([, percent]) => Number(percent));
    expect(percents).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  });

  it('writes a line per 5 s into a pipe when it goes slowly', async () => {
    const { clock, stderr, load } = show(false);
    for (const layers of [1, 2, 3, 4]) {
      load(layers);
      await clock.advance(2500);
    }
    expect([...stderr.text.matchAll(/layers (\d+)/g)].map(([, layers]) => layers)).toEqual(['1', '3']);
  });

  it('begins anew with each phase', () => {
    const { stderr, display, load } = show(false);
    display.update({ type: 'progress', phase: 'download', bytes_downloaded: 95, bytes_total: 100 });
    load(1);
    expect(stderr.text.trim().split('\n')).toHaveLength(2);
  });

  it('begins anew with each stage of a download, and after a retry that lost bytes', () => {
    const { stderr, display } = show(false);
    const at = (bytes: number) =>
      display.update({
        type: 'progress',
        phase: 'download',
        stage: 'downloading',
        bytes_downloaded: bytes,
        bytes_total: 100,
      });
    display.update({ type: 'progress', phase: 'download', stage: 'waiting' });
    for (const bytes of [95, 96, 0, 1, 95]) at(bytes);
    display.update({ type: 'progress', phase: 'download', stage: 'verifying' });
    const told = [...stderr.text.matchAll(/\] (\w+)( \d+ %)?/g)].map(([, doing, percent = '']) => doing + percent);
    expect(told).toEqual(['waiting', 'downloading 95 %', 'downloading 0 %', 'downloading 95 %', 'verifying']);
  });

  it('keeps to one line of a terminal, which goes when something else is said', () => {
    const { stderr, output, load } = show(true);
    for (const layers of [10, 50, 90]) load(layers);
    expect(stderr.screen).toMatch(/^\[model-loader\] loading █+░+ {2}90 % layers 90 of 100$/);
    output.say('model-loader', 'loaded');
    expect(stderr.screen).toBe('[model-loader] loaded\n');
  });
});
