import { expect, it } from '@jest/globals';
import { isLoopback, toUrl } from './loopback.js';

it.each([
  ['127.0.0.1', true, 'http://127.0.0.1:9'],
  ['127.1.2.3', true, 'http://127.1.2.3:9'],
  ['localhost', true, 'http://127.0.0.1:9'],
  ['::1', true, 'http://[::1]:9'],
  ['0.0.0.0', false, 'http://127.0.0.1:9'],
  ['::', false, 'http://[::1]:9'],
  ['192.168.1.20', false, 'http://192.168.1.20:9'],
  ['fd00::5', false, 'http://[fd00::5]:9'],
  ['1127.0.0.1', false, 'http://1127.0.0.1:9'],
  ['127.example.org', false, 'http://127.example.org:9'],
])('%s is loopback: %s, and reached at %s', (host, loopback, url) => {
  expect([isLoopback(host), toUrl(host, 9)]).toEqual([loopback, url]);
});
