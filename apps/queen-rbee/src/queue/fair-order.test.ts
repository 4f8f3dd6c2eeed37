import { describe, expect, it } from '@jest/globals';
import type { Priority } from '@rbee/protocol';
import fc from 'fast-check';
import { toClaim } from './claim.js';
import { fairOrder, LastServed, type Turn } from './fair-order.js';

interface Named extends Turn {
  readonly name: string;
}

const claim = toClaim({ model: 'hf:org/m', backend: 'cpu' });

/** Tasks by a short name: client, number; in capitals: batch. They come in the order in which they are given. */
function turns(names: string, fields: Record<string, Partial<Turn>> = {}): Named[] {
  return names.split(' ').map((name, ticket) => {
    const client = name.charAt(0).toLowerCase();
    const priority: Priority = name.startsWith(client) ? 'interactive' : 'batch';
    return { name, client, priority, ticket, sinceMs: 0, again: false, claim, ...fields[name] };
  });
}

const facts = { nowMs: 0, ageingMs: 30_000, lastServed: new Map<string, number>() };
const names = (order: readonly Named[]) => order.map(({ name }) => name).join(' ');

describe('fairOrder', () => {
  const at = (node: string) => ({ claim: toClaim({ model: 'hf:org/m', backend: 'cpu', node }) });
  const table: [string, string, Record<string, Partial<Turn>>, Partial<typeof facts>, string][] = [
    ['one client, in the order in which they came', 'a1 a2 a3', {}, {}, 'a1 a2 a3'],
    ['clients take turns', 'a1 a2 a3 b1 b2 c1', {}, {}, 'a1 b1 c1 a2 b2 a3'],
    [
      'the one that was served longest ago first',
      'a1 a2 b1 c1',
      {},
      { lastServed: new Map(Object.entries({ c: 1, a: 2 })) },
      'b1 c1 a1 a2',
    ],
    ['interactive before batch', 'A1 B1 a2 b2', {}, {}, 'a2 b2 A1 B1'],
    ['batch work takes turns as well', 'A1 A2 A3 B1', {}, {}, 'A1 B1 A2 A3'],
    ['batch that has waited long', 'A1 b1 c1', { A1: { sinceMs: -30_000 } }, {}, 'A1 b1 c1'],
    ['batch that has not waited long enough', 'A1 b1 c1', { A1: { sinceMs: -29_999 } }, {}, 'b1 c1 A1'],
    ['a task that lost its worker', 'a1 b1 c1 c2', { c2: { again: true } }, {}, 'c2 a1 b1 c1'],
    ['several that lost theirs', 'a1 b1 a2 b2', { a2: { again: true }, b1: { again: true } }, {}, 'b1 a2 a1 b2'],
    ['batch that lost its worker', 'a1 B1 B2', { B2: { again: true } }, {}, 'a1 B2 B1'],
    [
      'tasks that want other workers do not count',
      'a1 a2 a3 b1',
      { a1: at('x'), a2: at('x'), a3: at('y'), b1: at('y') },
      {},
      'a1 a3 b1 a2',
    ],
    ['tasks that may share a worker do', 'a1 a2 b1', { a1: at('x'), b1: at('x') }, {}, 'a1 b1 a2'],
  ];
  it.each(table)('%s', (_what, given, fields, more, expected) => {
    expect(names(fairOrder(turns(given, fields), { ...facts, ...more }))).toBe(expected);
  });

  const anyTurns = fc
    .array(fc.record({ client: fc.constantFrom('a', 'b', 'c', 'd'), batch: fc.boolean(), again: fc.boolean() }), {
      maxLength: 60,
    })
    .map((given) =>
      given.map(
        ({ client, batch, again }, ticket): Named => ({
          ...{ client, ticket, sinceMs: 0, again, claim },
          name: `${client}${ticket}`,
          priority: batch ? 'batch' : 'interactive',
        }),
      ),
    );

  it('loses nobody and adds nobody, whatever waits', () => {
    fc.assert(
      fc.property(anyTurns, (given) => {
        const order = fairOrder(given, facts);
        expect([...order].sort((a, b) => a.ticket - b.ticket)).toEqual(given);
      }),
    );
  });

  it('keeps the order among the tasks of one client and kind', () => {
    fc.assert(
      fc.property(anyTurns, (given) => {
        const kinds = new Map<string, number>();
        for (const { client, priority, again, ticket } of fairOrder(given, facts)) {
          const kind = `${client} ${priority} ${again}`;
          expect(ticket).toBeGreaterThan(kinds.get(kind) ?? -1);
          kinds.set(kind, ticket);
        }
      }),
    );
  });

  it('lets every other client be served at most once before a task of one that has a single task', () => {
    const clients = ['a', 'b', 'c', 'd', 'e'];
    const step = fc.oneof(
      fc.record({ come: fc.constantFrom(...clients), many: fc.integer({ min: 1, max: 20 }) }),
      fc.record({ serve: fc.integer({ min: 1, max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const served = new LastServed();
        let waiting: Named[] = [];
        let tickets = 0;
        const come = (client: string) => {
          const ticket = tickets++;
          const fields = { client, ticket, priority: 'interactive', sinceMs: 0, again: false, claim } as const;
          waiting.push({ ...fields, name: `${client}${ticket}` });
        };
        const serve = () => {
          const [next] = fairOrder(waiting, { ...facts, lastServed: served.all });
          if (!next) return undefined;
          waiting = waiting.filter((each) => each !== next);
          served.note(next.client);
          return next.client;
        };
        for (const each of steps) {
          if ('come' in each) for (let index = 0; index < each.many; index++) come(each.come);
          else for (let index = 0; index < each.serve; index++) serve();
        }
        waiting = waiting.filter(({ client }) => client !== 'e');
        come('e');
        const before: (string | undefined)[] = [];
        for (let next = serve(); next !== 'e'; next = serve()) before.push(next);
        expect(new Set(before).size).toBe(before.length);
      }),
    );
  });
});

describe('LastServed', () => {
  it('forgets those first that were served longest ago', () => {
    const served = new LastServed();
    for (let index = 0; index < 1_024; index++) served.note(`client ${index}`);
    served.note('client 0');
    served.note('newcomer');
    expect(served.all.size).toBe(1_024);
    expect([served.all.has('client 0'), served.all.has('client 1'), served.all.has('newcomer')]).toEqual([
      true,
      false,
      true,
    ]);
  });
});
