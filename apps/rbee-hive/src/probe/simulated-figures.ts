import { readFile } from 'node:fs/promises';
import { backendStatusSchema, gpuSchema, RbeeError, resourcesSchema } from '@rbee/protocol';
import { type MemoryHolder, withHolders } from '../preflight/footprint.js';
import type { ProbeSnapshot } from './snapshot.js';

const figure = resourcesSchema.shape.ram_available_mb.min(0);

/** The probe file: each field replaces what was detected, in the form in which the hive's routes report it. */
const probeFileSchema = resourcesSchema
  .pick({ ram_available_mb: true })
  .extend({
    backends: backendStatusSchema.partial({ available: true }).array(),
    ram_total_mb: figure,
    ram_available_mb: figure,
    disk_total_mb: figure,
    disk_available_mb: figure,
    gpus: gpuSchema.required({ backend: true }).array(),
    /** Whether the figures are those of a machine without workers, so that what they hold is subtracted. */
    without_workers: backendStatusSchema.shape.available,
  })
  .partial()
  .strict();

/**
 * Reads the probe file and puts its figures over a detected snapshot. It is read at every probe, so that figures can
 * change while the hive runs. Throws CONFIG_INVALID when it can't be read or doesn't fit its schema.
 */
export async function applySimulatedFigures(
  file: string,
  detected: ProbeSnapshot,
  holders: readonly MemoryHolder[] = [],
): Promise<ProbeSnapshot> {
  const figures = await readProbeFile(file);
  const { backends, gpus } = figures;
  const simulated = {
    backends:
      backends?.map(({ name, devices, available }) => ({ name, devices, available: available ?? devices > 0 })) ??
      detected.backends,
    devices: gpus
      ? gpus.map(({ backend, index, name, vram_total_mb, vram_free_mb, temperature_c }) => ({
          backend: backend ?? 'cuda',
          index,
          name,
          memoryTotalMb: vram_total_mb,
          memoryFreeMb: vram_free_mb,
          temperatureC: temperature_c ?? null,
        }))
      : detected.devices,
    ram: {
      totalMb: figures.ram_total_mb ?? detected.ram.totalMb,
      availableMb: figures.ram_available_mb ?? detected.ram.availableMb,
    },
    disk: {
      totalMb: figures.disk_total_mb ?? detected.disk.totalMb,
      availableMb: figures.disk_available_mb ?? detected.disk.availableMb,
    },
  };
  return figures.without_workers ? withHolders(simulated, holders) : simulated;
}

async function readProbeFile(file: string) {
  const invalid = (why: string, cause?: unknown) =>
    new RbeeError('CONFIG_INVALID', `the probe file (RBEE_PROBE_FILE) can't be used: ${why}`, {
      suggestion: 'correct the file, or unset RBEE_PROBE_FILE to use what this machine really has',
      cause,
    });
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw invalid(`it can't be read (${cause.code})`, cause);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw invalid('it is not JSON', cause);
  }
  const parsed = probeFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues.map((issue) => `${issue.path.join('.') || '(file)'}: ${issue.message}`).join('; '));
}
