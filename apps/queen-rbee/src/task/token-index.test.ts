import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readTokenIndex } from './token-index.js';

describe('the index of a token event', () => {
  it('is read from whatever a worker writes', () => {
    const token = fc.record({
      type: fc.constant('token'),
      t: fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.constant('"i":7,"ids":[1]}')),
      i: fc.nat(),
      ids: fc.option(fc.array(fc.nat(200_000), { minLength: 1, maxLength: 4 }), { nil: undefined }),
    });
    fc.assert(fc.property(token, (event) => expect(readTokenIndex(JSON.stringify(event))).toBe(event.i)));
  });

  it.each<[string, string, number | undefined]>([
    ['in another order', '{"i":3,"t":"x","type":"token"}', 3],
    ['with spaces', '{"type": "token", "t": "x", "i": 12}', 12],
    ['with more fields than are known', '{"type":"token","t":"x","i":4,"logprob":-1}', 4],
    ['without an index', '{"type":"token","t":"x"}', undefined],
    ['without a text', '{"type":"token","i":1}', undefined],
    ['with a negative index', '{"type":"token","t":"x","i":-1}', undefined],
    ['with a broken index', '{"type":"token","t":"x","i":1.5}', undefined],
    ['of another type', '{"type":"end","t":"x","i":1}', undefined],
    ['that is no JSON', '{"type":"token","t":"x","i":1,}', undefined],
    ['with a control character in its text', '{"type":"token","t":"\u0001","i":1}', undefined],
    ['with a text of 16 million characters', `{"type":"token","t":"${'x'.repeat(16_000_000)}","i":9}`, 9],
    ['with a text that does not end', '{"type":"token","t":"x\\","i":1}', undefined],
  ])('%s', (_what, data, index) => expect(readTokenIndex(data)).toBe(index));
});
