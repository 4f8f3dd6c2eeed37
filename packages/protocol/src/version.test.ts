import { readFileSync } from 'node:fs';
import { expect, it } from '@jest/globals';
import { isCompatibleVersion, LEAST_NODE_JS, runsOnNodeJs, VERSION } from './version.js';

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

it.each([
  ['20.19.0', true],
  ['20.20.2', true],
  ['24.1.0', true],
  ['20.18.3', false],
  ['18.20.4', false],
  ['', false],
  ['twenty', false],
])('rbee runs on Node.js %j: %s', (version, expected) => expect(runsOnNodeJs(version)).toBe(expected));

it('the project demands the same Node.js of whoever installs it', () => {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  expect((JSON.parse(manifest) as { engines: { node: string } }).engines.node).toBe(`>=${LEAST_NODE_JS}`);
});
