import { expect, it } from '@jest/globals';
import { toUrl } from './loopback.js';

it.each([
  ['127.0.0.1', 'http://127.0.0.1:9'],
  ['127.1.2.3', 'http://127.1.2.3:9'],
  ['localhost', 'http://127.0.0.1:9'],
  ['::1', 'http://[::1]:9'],
  ['0.0.0.0', 'http://127.0.0.1:9'],
  ['::', 'http://[::1]:9'],
  ['192.168.1.20', 'http://192.168.1.20:9'],
  ['fd00::5', 'http://[fd00::5]:9'],
])('what listens on %s is reached at %s', (host, url) => {
  expect(toUrl(host, 9)).toBe(url);
});
