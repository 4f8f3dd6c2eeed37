import { type Backend, RbeeError } from '@rbee/protocol';
import type { Device, Memory, ProbeSnapshot } from '../probe/snapshot.js';
import { type MemoryNeed, requiredMemory } from './required-memory.js';

export interface PreflightRequest extends MemoryNeed {
  modelRef: string;
  backend: Backend;
  device?: number | undefined;
}

/** Memory that was found free for a worker which is still starting, and which it therefore does not occupy yet. */
export interface Reservation {
  backend: Backend;
  device: number;
  requiredMb: number;
}

export interface PreflightPass {
  requiredMb: number;
  device: number;
}

/**
 * Decides whether a worker for this model may be started, and on which device: memory, then backend, then device, then
 * the device's memory. Nothing is ever moved to another backend or device. `onPassed` hears of each check. Throws
 * INSUFFICIENT_RAM, BACKEND_UNAVAILABLE, GPU_NOT_AVAILABLE, INVALID_DEVICE or VRAM_EXHAUSTED.
 */
export function checkWorkerFits(
  request: PreflightRequest,
  snapshot: ProbeSnapshot,
  promised: readonly Reservation[] = [],
  onPassed: (check: 'ram_check' | 'backend_check' | 'vram_check', human: string) => void = () => undefined,
): PreflightPass {
  const { backend } = request;
  const { requiredMb, deviceMb, because } = requiredMemory(request);
  checkRam({ modelRef: request.modelRef, requiredMb, ram: snapshot.ram, promised });
  onPassed('ram_check', `memory: ${requiredMb} MB needed (${because}), ${snapshot.ram.availableMb} MB available`);
  const free = { ...snapshot, devices: snapshot.devices.map((device) => withoutPromised(device, promised)) };
  const device = chooseDevice(request, free);
  const found = findDevice(free, backend, device);
  const chosen = request.device === undefined && found?.memoryFreeMb != null;
  const which = chosen ? `device ${device} has most free memory` : `device ${device} exists`;
  onPassed('backend_check', `backend ${backend} is available, ${which}`);
  checkDeviceMemory(request, deviceMb, found);
  if (found?.memoryFreeMb != null) {
    onPassed('vram_check', `${backend}:${device}: ${deviceMb} MB needed, ${found.memoryFreeMb} MB available`);
  }
  return { requiredMb, device };
}

/** The backend and device part alone: what can be known before the model's size is. */
export function chooseDevice(
  { backend, device }: Pick<PreflightRequest, 'backend' | 'device'>,
  snapshot: ProbeSnapshot,
) {
  checkBackend(backend, snapshot);
  const indexes = deviceIndexes(backend, snapshot);
  if (device === undefined) return preferredDevice(backend, indexes, snapshot);
  if (indexes.includes(device)) return device;
  throw new RbeeError(
    'INVALID_DEVICE',
    `${backend} device ${device} does not exist; available: ${indexes.join(', ')}`,
    {
      details: { backend, requested: device, available: indexes },
      suggestion: `use --device ${indexes[0] ?? 0}`,
    },
  );
}

/** `fell`: the same check passed a moment ago. Throws INSUFFICIENT_RAM. */
export function checkRam(check: {
  modelRef: string;
  requiredMb: number;
  ram: Memory;
  promised?: readonly Reservation[];
  fell?: boolean;
}): void {
  const { modelRef, requiredMb, ram, promised = [], fell = false } = check;
  const promisedMb = sumOf(promised);
  const availableMb = Math.max(0, ram.availableMb - promisedMb);
  if (availableMb >= requiredMb) return;
  const notes = [
    ...(promisedMb > 0 ? [`${promisedMb} MB more are promised to workers that are starting`] : []),
    ...(fell ? ['free memory fell during the check'] : []),
  ];
  const note = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  throw new RbeeError(
    'INSUFFICIENT_RAM',
    `not enough memory for ${modelRef}: need ${requiredMb} MB, ${availableMb} MB are free${note}`,
    {
      details: { required: requiredMb, available: availableMb, model: modelRef, ...(fell && { fell: true }) },
      suggestion: 'close other programs, or use a smaller quantization of the model (for example Q4_K_M)',
    },
  );
}

function checkBackend(backend: Backend, { backends }: ProbeSnapshot): void {
  const available = backends.filter((status) => status.available && status.devices > 0).map((status) => status.name);
  if (available.includes(backend)) return;
  const details = { requested: backend, available };
  const flags = available.map((name) => `--backend ${name}`).join(' or ');
  if (backend === 'cuda') {
    throw new RbeeError(
      'GPU_NOT_AVAILABLE',
      `cuda was asked for, but no NVIDIA driver with a device was found; available: ${available.join(', ')}`,
      { details, suggestion: `install the NVIDIA driver (nvidia-smi must list the GPU), or use ${flags}` },
    );
  }
  throw new RbeeError(
    'BACKEND_UNAVAILABLE',
    `the backend ${backend} is not available on this node; available: ${available.join(', ')}`,
    { details, suggestion: `use ${flags}` },
  );
}

function deviceIndexes(backend: Backend, snapshot: ProbeSnapshot): number[] {
  const listed = snapshot.devices.filter((device) => device.backend === backend).map((device) => device.index);
  if (listed.length > 0) return listed;
  const count = snapshot.backends.find((status) => status.name === backend)?.devices ?? 0;
  return Array.from({ length: count }, (_, index) => index);
}

/** cuda and vulkan: the device with most free memory, the lowest index of equals. cpu and metal: device 0. */
function preferredDevice(backend: Backend, indexes: readonly number[], snapshot: ProbeSnapshot): number {
  if (backend === 'cpu' || backend === 'metal') return 0;
  const free = (index: number) => findDevice(snapshot, backend, index)?.memoryFreeMb ?? 0;
  return indexes.reduce((best, index) => (free(index) > free(best) ? index : best), indexes[0] ?? 0);
}

function checkDeviceMemory({ backend, modelRef }: PreflightRequest, requiredMb: number, device: Device | undefined) {
  const available = device?.memoryFreeMb;
  if (device === undefined || available == null || available >= requiredMb) return;
  const name = `${backend}:${device.index}`;
  throw new RbeeError(
    'VRAM_EXHAUSTED',
    `not enough memory on ${name} (${device.name}) for ${modelRef}: need ${requiredMb} MB, ${available} MB are free`,
    {
      details: { device: name, required: requiredMb, available, model: modelRef },
      suggestion:
        'use a smaller quantization, run it on the processor with --backend cpu, or free memory on the device',
    },
  );
}

function findDevice({ devices }: ProbeSnapshot, backend: Backend, index: number): Device | undefined {
  return devices.find((device) => device.backend === backend && device.index === index);
}

function withoutPromised(device: Device, promised: readonly Reservation[]): Device {
  if (device.memoryFreeMb === null) return device;
  const here = promised.filter((one) => one.backend === device.backend && one.device === device.index);
  return { ...device, memoryFreeMb: Math.max(0, device.memoryFreeMb - sumOf(here)) };
}

function sumOf(reservations: readonly Reservation[]): number {
  return reservations.reduce((sum, { requiredMb }) => sum + requiredMb, 0);
}
