import { expect, it } from '@jest/globals';
import { hiveLogQuerySchema, queenLogQuerySchema } from './log-query.js';

it('has defaults', () => {
  expect(hiveLogQuerySchema.parse({})).toEqual({ follow: false, lines: 100 });
  expect(queenLogQuerySchema.parse({})).toEqual({ node: 'localhost', follow: false, lines: 100 });
});

it('reads the text of a query string', () => {
  const query = { node: 'mac', follow: 'true', lines: '0', worker_id: 'worker-1' };
  expect(queenLogQuerySchema.parse(query)).toEqual({ node: 'mac', follow: true, lines: 0, worker_id: 'worker-1' });
  expect(hiveLogQuerySchema.parse({ follow: '0' }).follow).toBe(false);
});

it.each([
  { follow: 'maybe' },
  { lines: '-1' },
  { lines: 'many' },
  { lines: '1.5' },
  { lines: '' },
  { lines: ['1', '2'] },
  { worker_id: 'a_b' },
  { lines: '100001' },
])('refuses %j', (query) => expect(hiveLogQuerySchema.safeParse(query).success).toBe(false));
