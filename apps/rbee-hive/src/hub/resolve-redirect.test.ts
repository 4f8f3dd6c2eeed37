import { describe, expect, it } from '@jest/globals';
import { resolveRedirect } from './resolve-redirect.js';

const SUBJECT = { endpoint: 'https://hub.example', repo: 'org/repo', hasToken: true };
const resolve = (from: string, location: string) => resolveRedirect(new URL(from), location, SUBJECT).href;

describe('a redirect', () => {
  it.each([
    ['https://hub.example/a/b', 'https://cdn.example/x?sig=1', 'https://cdn.example/x?sig=1'],
    ['https://hub.example/a/b', '/c/d', 'https://hub.example/c/d'],
    ['http://127.0.0.1:1/a', 'http://127.0.0.1:2/b', 'http://127.0.0.1:2/b'],
    ['http://hub.example/a', 'https://hub.example/a', 'https://hub.example/a'],
  ])('from %s to %s is followed', (from, location, expected) => {
    expect(resolve(from, location)).toBe(expected);
  });

  it.each(['http://hub.example/a/b', 'file:///etc/passwd', 'data:,x', 'https://'])(
    'from https to %s is refused',
    (location) => {
      expect(() => resolve('https://hub.example/a/b', location)).toThrow(
        /^the files of hf:org\/repo could not be listed/,
      );
    },
  );
});
