import type { RunProgram } from './run-program.js';
import type { Device, Memory } from './snapshot.js';

/** Metal lets a process wire about this share of the memory that CPU and GPU have in common. */
const DEFAULT_GPU_SHARE = 0.75;

/**
 * The Metal device of a Mac, or none. Memory is shared with the CPU: the total is what macOS lets the GPU wire, the free
 * part can't exceed what is available at all.
 */
export async function findMetalDevices(run: RunProgram, ram: Memory): Promise<Device[]> {
  const [displays, limit] = await Promise.all([
    run('system_profiler', ['SPDisplaysDataType', '-json']),
    run('sysctl', ['-n', 'iogpu.wired_limit_mb']),
  ]);
  const name = displays.ok ? parseMetalGpu(displays.stdout) : null;
  if (name === null) return [];
  const configured = limit.ok ? Number.parseInt(limit.stdout, 10) : 0;
  const memoryTotalMb = configured > 0 ? configured : Math.floor(ram.totalMb * DEFAULT_GPU_SHARE);
  const memoryFreeMb = Math.min(memoryTotalMb, ram.availableMb);
  return [{ backend: 'metal', index: 0, name, memoryTotalMb, memoryFreeMb, temperatureC: null }];
}

/** Name of the first GPU that supports Metal in the report of `system_profiler`, or null. */
function parseMetalGpu(stdout: string): string | null {
  const report = parseJson(stdout) as { SPDisplaysDataType?: unknown } | null;
  const entries = Array.isArray(report?.SPDisplaysDataType) ? report.SPDisplaysDataType : [];
  for (const entry of entries as Record<string, unknown>[]) {
    const family = Object.entries(entry).find(([key]) =>
      /^spdisplays_(mtlgpufamilysupport|metalfamily|metal)$/.test(key),
    );
    if (family && !/notsupported|unsupported/i.test(String(family[1]))) {
      return String(entry.sppci_model ?? entry._name ?? 'Apple GPU');
    }
  }
  return null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
