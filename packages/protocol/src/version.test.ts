import { expect, it } from '@jest/globals';
import { isCompatibleVersion, VERSION } from './version.js';

it.each([
  ['0.1.0', '0.1.0', true],
  ['0.1.0', '0.1.9', true],
  ['0.1.0', '0.2.0', false],
  ['0.1.0', '1.1.0', false],
  ['1.1.0', '1.9.3', true],
  ['1.0.0', '2.0.0', false],
  ['10.0.0', '1.0.0', false],
  ['0.1.0', '0.10.0', false],
  ['0.1.0-rc.1', '0.1.0+build.5', true],
  ['0.1', '0.1', false],
  ['v0.1.0', '0.1.0', false],
  ['0.1.0.4', '0.1.0', false],
  ['0.1.0x', '0.1.0', false],
  ['', '', false],
])('%s and %s work together: %s', (a, b, expected) => {
  expect(isCompatibleVersion(a, b)).toBe(expected);
  expect(isCompatibleVersion(b, a)).toBe(expected);
});

it('the own version works with itself', () => expect(isCompatibleVersion(VERSION, VERSION)).toBe(true));
