import { describe, expect, it } from '@jest/globals';
import { renderLogLine } from './log-line.js';

describe('renderLogLine', () => {
  it('lays a JSON line out', () => {
    const line = {
      time: '2030-01-01T10:00:00.000Z',
      level: 'warn',
      service: 'rbee-hive',
      correlation_id: 'c',
      pid: 7,
      nested: { a: 1 },
      msg: 'a worker ended',
    };
    expect(renderLogLine(JSON.stringify(line))).toMatch(/^\d\d:\d\d:\d\d warn {2}rbee-hive a worker ended pid=7$/);
  });

  it.each([
    ['plain text', 'plain text'],
    ['{"no":"message"}', '{"no":"message"}'],
    ['{"msg":"cut off', '{"msg":"cut off'],
    ['{"msg":"only this"}', '      only this'],
    ['evil \u001b[2J', 'evil \ufffd[2J'],
    ['{"msg":"evil \\u001b[2J"}', '      evil \ufffd[2J'],
  ])('%j', (line, text) => {
    expect(renderLogLine(line)).toBe(text);
  });
});
