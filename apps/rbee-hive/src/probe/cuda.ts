import type { RunProgram } from './run-program.js';
import type { Device } from './snapshot.js';

const QUERY = ['--query-gpu=index,name,memory.total,memory.free,temperature.gpu', '--format=csv,noheader,nounits'];

/** NVIDIA GPUs in the order of the PCI bus, which is the order that nvidia-smi counts in; empty without a driver. */
export async function findCudaDevices(run: RunProgram): Promise<Device[]> {
  const output = await run('nvidia-smi', QUERY);
  return output.ok ? parseNvidiaSmi(output.stdout) : [];
}

/** Reads the lines of the query above; a field that a device doesn't have is text in brackets. */
export function parseNvidiaSmi(stdout: string): Device[] {
  return stdout.split('\n').flatMap((line) => {
    const fields = line.split(',').map((field) => field.trim());
    const index = toNumber(fields[0]);
    if (fields.length < 5 || index === null) return [];
    const [total, free, temperature] = fields.slice(-3).map(toNumber);
    return [
      {
        backend: 'cuda' as const,
        index,
        name: fields.slice(1, -3).join(', '),
        memoryTotalMb: total ?? null,
        memoryFreeMb: free ?? null,
        temperatureC: temperature ?? null,
      },
    ];
  });
}

function toNumber(field: string | undefined): number | null {
  return field !== undefined && /^\d+(\.\d+)?$/.test(field) ? Number(field) : null;
}
