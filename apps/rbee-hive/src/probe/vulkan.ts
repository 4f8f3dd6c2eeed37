import type { RunProgram } from './run-program.js';
import { BYTES_PER_MB, type Device } from './snapshot.js';

/** GPUs that the Vulkan loader shows; empty where `vulkaninfo` is not installed. Software devices don't count. */
export async function findVulkanDevices(run: RunProgram): Promise<Device[]> {
  const output = await run('vulkaninfo', []);
  return output.ok ? parseVulkanInfo(output.stdout) : [];
}

/** Reads the sections `GPU0:`, `GPU1:` … of the full report; its summary form gives devices without memory. */
export function parseVulkanInfo(stdout: string): Device[] {
  const sections = stdout.split(/^GPU(\d+):\s*$/m).slice(1);
  const devices: Device[] = [];
  for (let at = 0; at + 1 < sections.length; at += 2) {
    const body = sections[at + 1] ?? '';
    const type = /^\s*deviceType\s*=\s*PHYSICAL_DEVICE_TYPE_(\w+)/m.exec(body)?.[1];
    const name = /^\s*deviceName\s*=\s*(.+?)\s*$/m.exec(body)?.[1];
    if (type === undefined || type === 'CPU' || name === undefined) continue;
    const heap = largestLocalHeap(body);
    devices.push({
      backend: 'vulkan',
      index: Number(sections[at]),
      name,
      memoryTotalMb: heap?.totalMb ?? null,
      memoryFreeMb: heap?.freeMb ?? null,
      temperatureC: null,
    });
  }
  return devices;
}

/** The memory of the device itself. `budget`, where the driver gives it, is what a process may still have. */
function largestLocalHeap(section: string): { totalMb: number; freeMb: number } | null {
  const heaps = section.split(/^\s*memoryHeaps\[\d+\]:?\s*$/m).slice(1);
  const local = heaps.flatMap((heap) => {
    const end = heap.search(/^\s*memoryTypes/m);
    const text = end < 0 ? heap : heap.slice(0, end);
    const size = Number(/^\s*size\s*=\s*(\d+)/m.exec(text)?.[1]);
    if (!text.includes('DEVICE_LOCAL_BIT') || !Number.isFinite(size)) return [];
    const budget = Number(/^\s*budget\s*=\s*(\d+)/m.exec(text)?.[1] ?? size);
    return [{ totalMb: Math.floor(size / BYTES_PER_MB), freeMb: Math.floor(budget / BYTES_PER_MB) }];
  });
  return local.sort((a, b) => b.totalMb - a.totalMb)[0] ?? null;
}
