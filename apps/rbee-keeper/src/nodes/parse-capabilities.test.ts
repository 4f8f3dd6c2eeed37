import { describe, expect, it } from '@jest/globals';
import { parseBackends, parseDevices } from './parse-capabilities.js';

describe('parseBackends', () => {
  it.each([
    ['cpu', ['cpu']],
    ['cuda, cpu', ['cuda', 'cpu']],
    ['', []],
    ['cuda,', ['cuda', '']],
  ])('%j', (text, backends) => {
    expect(parseBackends(text)).toEqual(backends);
  });
});

describe('parseDevices', () => {
  it.each<[string, Record<string, number> | undefined]>([
    ['cpu=1', { cpu: 1 }],
    ['cuda=2, cpu = 1', { cuda: 2, cpu: 1 }],
    ['cuda=0', { cuda: 0 }],
    ['', {}],
    ['cuda', undefined],
    ['cuda=', undefined],
    ['=1', undefined],
    ['cuda=two', undefined],
    ['cuda=-1', undefined],
    ['cuda=1.5', undefined],
    ['cuda=1,', undefined],
    ['cuda=1,cuda=2', undefined],
    ['cuda=1=2', undefined],
  ])('%j', (text, devices) => {
    expect(parseDevices(text)).toEqual(devices);
  });

  it('keeps a name that means something to JavaScript as a mere name', () => {
    expect(Object.keys(parseDevices('__proto__=1') ?? {})).toEqual(['__proto__']);
  });
});
