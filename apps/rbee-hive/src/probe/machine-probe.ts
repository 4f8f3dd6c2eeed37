import { freemem, totalmem } from 'node:os';
import type { BackendStatus } from '@rbee/protocol';
import type { MemoryHolder } from '../preflight/footprint.js';
import { findCudaDevices } from './cuda.js';
import { readDisk } from './disk.js';
import { readLinuxMemory } from './linux-memory.js';
import { readMacMemory } from './macos-memory.js';
import { findMetalDevices } from './metal.js';
import { type RunProgram, runProgram } from './run-program.js';
import { applySimulatedFigures } from './simulated-figures.js';
import { BYTES_PER_MB, type Device, type Memory, type ProbeSnapshot } from './snapshot.js';
import { findVulkanDevices } from './vulkan.js';

export interface MachineProbeOptions {
  platform: NodeJS.Platform;
  /** Folder whose file system's space counts. */
  modelsDir: string;
  /** File with figures that replace what is detected; for tests. */
  probeFile?: string | undefined;
  run?: RunProgram;
}

/** Finds out what this machine has. Probes at the same time share one. */
export class MachineProbe {
  private running: Promise<ProbeSnapshot> | null = null;
  private latest: Pick<ProbeSnapshot, 'backends' | 'devices'> | undefined;
  private readonly run: RunProgram;
  private holders: () => readonly MemoryHolder[] = () => [];

  constructor(private readonly options: MachineProbeOptions) {
    this.run = options.run ?? runProgram;
  }

  /** Whether figures come from a probe file. */
  get simulated(): boolean {
    return this.options.probeFile !== undefined;
  }

  /** Which workers have taken memory, for figures of a probe file that leave it out. */
  simulateHolders(holders: () => readonly MemoryHolder[]): void {
    this.holders = holders;
  }

  snapshot(): Promise<ProbeSnapshot> {
    this.running ??= this.probe().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  /** As `snapshot`, but nothing of it was read before this call. */
  async freshSnapshot(): Promise<ProbeSnapshot> {
    // Whoever started the probe that runs now hears of its failure.
    await this.running?.catch(() => undefined);
    return this.snapshot();
  }

  /**
   * As `snapshot`, but backends and devices are those of the probe before: only memory and disk are read, which is
   * quick.
   */
  async quickSnapshot(): Promise<ProbeSnapshot> {
    if (this.latest === undefined) return this.snapshot();
    const [ram, disk] = await Promise.all([this.readMemory(), readDisk(this.options.modelsDir)]);
    return this.simulate({ ...this.latest, ram, disk });
  }

  /** Memory alone, which is quick: it is read again directly before a process is started. */
  async ram(): Promise<Memory> {
    return this.simulated ? (await this.quickSnapshot()).ram : this.readMemory();
  }

  private async probe(): Promise<ProbeSnapshot> {
    const [ram, disk, cuda, vulkan] = await Promise.all([
      this.readMemory(),
      readDisk(this.options.modelsDir),
      findCudaDevices(this.run),
      findVulkanDevices(this.run),
    ]);
    const metal = this.options.platform === 'darwin' ? await findMetalDevices(this.run, ram) : [];
    const devices = [...cuda, ...metal, ...vulkan];
    this.latest = { backends: summarise(devices), devices };
    return this.simulate({ ...this.latest, ram, disk });
  }

  private async simulate(detected: ProbeSnapshot): Promise<ProbeSnapshot> {
    const { probeFile } = this.options;
    return probeFile === undefined ? detected : applySimulatedFigures(probeFile, detected, this.holders());
  }

  private async readMemory(): Promise<Memory> {
    if (this.options.platform === 'linux') return readLinuxMemory();
    const mac = this.options.platform === 'darwin' ? await readMacMemory(this.run, totalmem()) : null;
    return mac ?? { totalMb: Math.floor(totalmem() / BYTES_PER_MB), availableMb: Math.floor(freemem() / BYTES_PER_MB) };
  }
}

/** The CPU is always there; the other backends are listed with what was found of them. */
function summarise(devices: readonly Device[]): BackendStatus[] {
  const others = (['cuda', 'metal', 'vulkan'] as const).map((name) => {
    const count = devices.filter((device) => device.backend === name).length;
    return { name, available: count > 0, devices: count };
  });
  return [{ name: 'cpu', available: true, devices: 1 }, ...others];
}
