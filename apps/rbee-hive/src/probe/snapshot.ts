import type { Backend, BackendStatus, Resources } from '@rbee/protocol';

/** A compute device other than the CPU. Memory is null where the system gives no figure for it. */
export interface Device {
  backend: Backend;
  /** Index within the backend; GPUs in the order of the bus. */
  index: number;
  name: string;
  memoryTotalMb: number | null;
  memoryFreeMb: number | null;
  temperatureC: number | null;
}

export interface Memory {
  totalMb: number;
  /** What a new process can have without swapping, limits of a container included. */
  availableMb: number;
}

export interface Disk {
  totalMb: number;
  availableMb: number;
}

/** What a machine has at one moment; MB are 2^20 bytes. */
export interface ProbeSnapshot {
  backends: readonly BackendStatus[];
  devices: readonly Device[];
  ram: Memory;
  disk: Disk;
}

export const BYTES_PER_MB = 1024 * 1024;

/** The `resources` answer of a snapshot; a device without memory figures is no entry of it. */
export function toResources({ devices, ram, disk }: ProbeSnapshot): Resources {
  return {
    ram_total_gb: toGb(ram.totalMb),
    ram_available_gb: toGb(ram.availableMb),
    disk_total_gb: toGb(disk.totalMb),
    disk_available_gb: toGb(disk.availableMb),
    ram_available_mb: ram.availableMb,
    disk_available_mb: disk.availableMb,
    gpus: devices.flatMap((device) => {
      const { backend, index, name, memoryTotalMb, memoryFreeMb, temperatureC } = device;
      if (memoryTotalMb === null || memoryFreeMb === null) return [];
      const figures = { backend, index, name, vram_total_mb: memoryTotalMb, vram_free_mb: memoryFreeMb };
      return [{ ...figures, temperature_c: temperatureC ?? undefined }];
    }),
  };
}

function toGb(mb: number): number {
  return Math.round((mb / 1024) * 100) / 100;
}
