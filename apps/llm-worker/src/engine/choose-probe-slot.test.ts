import { expect, it } from '@jest/globals';
import { chooseProbeSlot, type ProbeChoice, type ProbeView } from './choose-probe-slot.js';

const busy: ProbeView = { free: false, cached: 0, lastUsed: 9 };
const slot = (cached: number, lastUsed: number): ProbeView => ({ free: true, cached, lastUsed });

it.each<[string, ProbeView[], boolean, ProbeChoice | undefined]>([
  ['none is free', [busy, busy], true, undefined],
  ['one was never used', [slot(10, 1), slot(0, 0)], true, { index: 1, clear: false }],
  ['one is empty, though it was used last', [slot(10, 1), slot(0, 2)], true, { index: 1, clear: false }],
  ['all hold something', [slot(10, 3), slot(20, 2), slot(30, 4)], true, { index: 1, clear: false }],
  ['the oldest is busy', [busy, slot(20, 2), slot(30, 1)], true, { index: 2, clear: false }],
  ['the oldest is full', [slot(64, 1), slot(20, 2)], true, { index: 1, clear: false }],
  ['the oldest has room for the token and no more', [slot(63, 1), slot(20, 2)], true, { index: 1, clear: false }],
  ['all are full', [slot(64, 2), slot(64, 1)], true, { index: 1, clear: true }],
  ['no cache can be cut', [slot(10, 2), slot(10, 1)], false, { index: 1, clear: true }],
  ['no cache can be cut, but one is empty', [slot(10, 2), slot(0, 5)], false, { index: 1, clear: false }],
])('when %s', (_what, slots, cuttable, expected) => {
  expect(chooseProbeSlot(slots, { contextSize: 64, cuttable })).toEqual(expected);
});
