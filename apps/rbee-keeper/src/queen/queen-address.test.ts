import { describe, expect, it } from '@jest/globals';
import { toQueenAddress } from './queen-address.js';

describe('toQueenAddress', () => {
  it.each([
    ['http://127.0.0.1:8080', '127.0.0.1', 8080, true],
    ['http://127.8.8.8:8080', '127.8.8.8', 8080, true],
    ['http://localhost:8090', 'localhost', 8090, true],
    ['http://[::1]:8080', '::1', 8080, true],
    ['http://blep.home.arpa', 'blep.home.arpa', 80, false],
    ['http://127.0.0.1.evil.example:8080', '127.0.0.1.evil.example', 8080, false],
  ])('%s', (url, host, port, isLocal) => {
    expect(toQueenAddress(url)).toEqual({ url, host, port, isLocal });
  });
});
