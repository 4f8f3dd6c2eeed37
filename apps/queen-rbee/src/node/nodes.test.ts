import { expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, silentLogger } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import type { Link } from '../link/link.js';
import { LiveNode } from './live-node.js';
import { Nodes } from './nodes.js';

it('looks for a second at a node that does not answer, and glances for the tenth of that', async () => {
  const clock = new ManualClock();
  const open = (node: string) => {
    const link = {
      node,
      kind: 'ssh',
      hive: { clock, transport: { peer: { name: 'rbee-hive', url: 'http://127.0.0.1:1' } } },
      reach: () => new Promise<void>(() => undefined),
      onLost: () => () => undefined,
    } as unknown as Link;
    return new LiveNode({
      ...{ link, log: silentLogger, timeouts: DEFAULT_TIMEOUTS, variables: {} },
      onChange: () => undefined,
    });
  };
  const nodes = new Nodes(open('localhost'), silentLogger);
  const took: Record<string, number> = {};
  const measure = async (name: string, work: Promise<void>) => {
    const startedAt = clock.monotonic();
    await work;
    took[name] = clock.monotonic() - startedAt;
  };
  nodes.add(open('far'));
  const both = Promise.all([
    measure('glance', nodes.glance(nodes.all())),
    measure('look', nodes.look(nodes.all())),
    measure('nobody', nodes.glance([])),
  ]);
  for (let ms = 0; ms < 1_100; ms += 50) await clock.advance(50);
  await both;
  expect(took).toEqual({ glance: 100, look: 1_000, nobody: 0 });
  // All that was waited for is over; another attempt at the far one waits for nothing.
  await nodes.glance([nodes.get('far')]);
  expect(clock.pending).toBe(0);
  nodes.close();
});
