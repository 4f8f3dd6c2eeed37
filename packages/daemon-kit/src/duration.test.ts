import { expect, it } from '@jest/globals';
import { formatDuration, parseDuration } from './duration.js';

it.each([
  ['250', 250],
  ['250ms', 250],
  ['0', 0],
  ['30s', 30_000],
  ['0.5s', 500],
  ['5m', 300_000],
  ['1h', 3_600_000],
  [' 10m ', 600_000],
])('%j is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

it.each([
  '',
  'soon',
  '-5s',
  '5 m',
  '1d',
  '1e3',
  '.5s',
  '5.s',
  '5S',
  '0x10',
  'Infinity',
  'NaN',
  '5s5',
  `${'9'.repeat(400)}h`,
])('%j is no duration', (text) => expect(parseDuration(text)).toBeUndefined());

it.each([
  [0, '0 ms'],
  [250.4, '250 ms'],
  [1000, '1 s'],
  [1500, '1.5 s'],
  [59_000, '59 s'],
  [60_000, '1 min'],
  [90_000, '1.5 min'],
  [3_600_000, '60 min'],
])('%d ms read as %j', (ms, text) => expect(formatDuration(ms)).toBe(text));
