import { describe, expect, it } from '@jest/globals';
import { BYTES_PER_MB, type ProbeSnapshot } from '../probe/snapshot.js';
import { bytesHeld, type MemoryHolder, withHolders, withHostBytes, withoutHolders } from './footprint.js';

const device = (backend: 'cuda' | 'metal' | 'vulkan', index: number, memoryFreeMb: number | null) => {
  const memoryTotalMb = memoryFreeMb === null ? null : 8000;
  return { backend, index, name: 'GPU', memoryTotalMb, memoryFreeMb, temperatureC: null };
};
const machine: ProbeSnapshot = {
  backends: [],
  devices: [device('cuda', 0, 2000), device('cuda', 1, 3000), device('metal', 0, 4000), device('vulkan', 0, null)],
  ram: { totalMb: 16_000, availableMb: 4000 },
  disk: { totalMb: 1, availableMb: 1 },
};
const holder = (backend: MemoryHolder['backend'], index: number, modelMb: number, ownMb = 100): MemoryHolder => ({
  backend,
  device: index,
  footprint: { modelBytes: modelMb * BYTES_PER_MB, ownBytes: ownMb * BYTES_PER_MB },
});
const figures = ({ ram, devices }: ProbeSnapshot) => [ram.availableMb, ...devices.map((each) => each.memoryFreeMb)];

describe('what workers hold', () => {
  it.each([
    ['cpu', [holder('cpu', 0, 1000)], [5100, 2000, 3000, 4000, null]],
    ['cuda: the model on its device, the process in memory', [holder('cuda', 1, 1000)], [4100, 2000, 4000, 4000, null]],
    ['metal: one memory for both', [holder('metal', 0, 1000)], [5100, 2000, 3000, 5000, null]],
    ['vulkan without figures', [holder('vulkan', 0, 1000)], [4100, 2000, 3000, 4000, null]],
    ['several', [holder('cuda', 0, 500), holder('cuda', 0, 500), holder('cpu', 0, 9)], [4309, 3000, 3000, 4000, null]],
    [
      'never more than there is',
      [holder('cpu', 0, 90_000), holder('cuda', 0, 90_000)],
      [16_000, 8000, 3000, 4000, null],
    ],
    ['none', [], [4000, 2000, 3000, 4000, null]],
  ] as const)('comes free with them: %s', (_which, holders, expected) => {
    expect(figures(withoutHolders(machine, holders))).toEqual(expected);
  });

  it.each([
    ['cpu', [4700, 2000, 3000, 4000, null]],
    ['cuda', [4700, 3000, 3000, 4000, null]],
  ] as const)('is what was measured of it, where that was done: %s', (backend, expected) => {
    const measured = withHostBytes(holder(backend, 0, 1000), 700 * BYTES_PER_MB);
    expect(figures(withoutHolders(machine, [measured]))).toEqual(expected);
  });

  it('is taken from a machine without them, down to nothing', () => {
    const holders = [holder('cpu', 0, 1000), holder('cuda', 0, 1999, 0.5), holder('cuda', 1, 9000)];
    expect(figures(withHolders(machine, holders))).toEqual([2799, 1, 0, 4000, null]);
  });

  it.each([
    ['cpu', 1100],
    ['metal', 1100],
    ['cuda', 1000],
    ['vulkan', 1000],
  ] as const)('is told where the model lies: %s', (backend, mb) => {
    expect(bytesHeld(holder(backend, 0, 1000).footprint, backend)).toBe(mb * BYTES_PER_MB);
  });
});
