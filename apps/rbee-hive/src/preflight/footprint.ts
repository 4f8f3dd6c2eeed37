import type { Backend } from '@rbee/protocol';
import { BYTES_PER_MB, type ProbeSnapshot } from '../probe/snapshot.js';

/** What a worker holds while its model is loaded, in bytes. */
export interface Footprint {
  /** Weights, caches and buffers, wherever the backend keeps them. */
  readonly modelBytes: number;
  /** The process beside its model; always in the machine's memory. */
  readonly ownBytes: number;
}

/** A worker as far as memory goes. */
export interface MemoryHolder {
  readonly backend: Backend;
  readonly device: number;
  readonly footprint: Footprint;
}

/** Bytes that ending a worker frees where its model lies: on its device, or in the machine's memory with the process itself. */
export function bytesHeld({ modelBytes, ownBytes }: Footprint, backend: Backend): number {
  return isHostMemory(backend) ? modelBytes + ownBytes : modelBytes;
}

/** A worker of whose part of the machine's memory it was measured how much comes free with it. */
export function withHostBytes({ footprint, ...holder }: MemoryHolder, hostBytes: number): MemoryHolder {
  const measured = isHostMemory(holder.backend)
    ? { modelBytes: hostBytes, ownBytes: 0 }
    : { modelBytes: footprint.modelBytes, ownBytes: hostBytes };
  return { ...holder, footprint: measured };
}

/** The machine as it will be when these workers have gone. */
export function withoutHolders(snapshot: ProbeSnapshot, holders: readonly MemoryHolder[]): ProbeSnapshot {
  return moveMemory(snapshot, holders, 1);
}

/** The machine as it is when these workers have taken what they hold. */
export function withHolders(snapshot: ProbeSnapshot, holders: readonly MemoryHolder[]): ProbeSnapshot {
  return moveMemory(snapshot, holders, -1);
}

function moveMemory(snapshot: ProbeSnapshot, holders: readonly MemoryHolder[], sign: 1 | -1): ProbeSnapshot {
  if (holders.length === 0) return snapshot;
  const { ram, devices } = snapshot;
  const hostBytes = sum(holders, ({ backend, footprint }) =>
    isHostMemory(backend) ? footprint.modelBytes + footprint.ownBytes : footprint.ownBytes,
  );
  return {
    ...snapshot,
    ram: { ...ram, availableMb: moved(ram.availableMb, sign * hostBytes, ram.totalMb) },
    devices: devices.map((device) => {
      if (device.memoryFreeMb === null) return device;
      const here = holders.filter(({ backend, device: index }) => backend === device.backend && index === device.index);
      const bytes = sum(here, ({ footprint }) => footprint.modelBytes);
      return { ...device, memoryFreeMb: moved(device.memoryFreeMb, sign * bytes, device.memoryTotalMb) };
    }),
  };
}

/** Metal's memory is the machine's own. */
function isHostMemory(backend: Backend): boolean {
  return backend === 'cpu' || backend === 'metal';
}

/** Rounded to the side of less free memory. */
function moved(freeMb: number, bytes: number, totalMb: number | null): number {
  const free = Math.max(0, freeMb + Math.floor(bytes / BYTES_PER_MB));
  // What is free already may be more than a figure of the whole says.
  return totalMb === null ? free : Math.min(free, Math.max(totalMb, freeMb));
}

function sum(holders: readonly MemoryHolder[], bytesOf: (holder: MemoryHolder) => number): number {
  return holders.reduce((bytes, holder) => bytes + bytesOf(holder), 0);
}
