import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parseNvidiaSmi } from './cuda.js';
import { renderDetection, toDetection } from './detection.js';
import { readDisk } from './disk.js';
import { readLinuxMemory } from './linux-memory.js';
import { MachineProbe } from './machine-probe.js';
import { parseVmStat } from './macos-memory.js';
import { findMetalDevices } from './metal.js';
import type { RunProgram } from './run-program.js';
import { runProgram } from './run-program.js';
import { toResources } from './snapshot.js';
import { parseVulkanInfo } from './vulkan.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbee-probe-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const none: RunProgram = async () => ({ ok: false, reason: 'missing' });

describe('parseNvidiaSmi', () => {
  it('reads devices in bus order', () => {
    expect(parseNvidiaSmi('0, NVIDIA GeForce RTX 4090, 24564, 23912, 41\n1, NVIDIA GB10, [N/A], [N/A], 38\n')).toEqual([
      {
        backend: 'cuda',
        index: 0,
        name: 'NVIDIA GeForce RTX 4090',
        memoryTotalMb: 24564,
        memoryFreeMb: 23912,
        temperatureC: 41,
      },
      { backend: 'cuda', index: 1, name: 'NVIDIA GB10', memoryTotalMb: null, memoryFreeMb: null, temperatureC: 38 },
    ]);
  });

  it.each(['', 'No devices were found\n', 'NVIDIA-SMI has failed, because it, well, failed\n'])(
    'finds none in %j',
    (text) => {
      expect(parseNvidiaSmi(text)).toEqual([]);
    },
  );
});

describe('parseVulkanInfo', () => {
  const report = [
    'GPU0:',
    '=====',
    'VkPhysicalDeviceProperties:',
    '	deviceType        = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU',
    '	deviceName        = AMD Radeon RX 7800 XT (RADV NAVI32)',
    'VkPhysicalDeviceMemoryProperties:',
    'memoryHeaps: count = 2',
    '	memoryHeaps[0]:',
    '		size   = 17163091968 (0x3ff000000) (15.98 GiB)',
    '		budget = 16106127360 (0x3c0000000) (15.00 GiB)',
    '		flags: count = 1',
    '			MEMORY_HEAP_DEVICE_LOCAL_BIT',
    '	memoryHeaps[1]:',
    '		size   = 33000000000 (0x7aef40a00) (30.73 GiB)',
    '		flags:',
    '			None',
    'memoryTypes: count = 1',
    '		propertyFlags = 0x0001: MEMORY_PROPERTY_DEVICE_LOCAL_BIT',
    'GPU1:',
    '=====',
    '	deviceType        = PHYSICAL_DEVICE_TYPE_CPU',
    '	deviceName        = llvmpipe',
    'GPU2:',
    '	deviceType         = PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU',
    '	deviceName         = Intel(R) Iris(R) Xe',
  ].join('\n');

  it('reads hardware devices, with memory where it is stated', () => {
    expect(parseVulkanInfo(report)).toMatchObject([
      { index: 0, name: 'AMD Radeon RX 7800 XT (RADV NAVI32)', memoryTotalMb: 16368, memoryFreeMb: 15360 },
      { index: 2, name: 'Intel(R) Iris(R) Xe', memoryTotalMb: null, memoryFreeMb: null },
    ]);
  });
});

describe('findMetalDevices', () => {
  const displays = (entry: object): RunProgram => {
    return async (file) => {
      if (file === 'sysctl') return { ok: true, stdout: '0\n' };
      return { ok: true, stdout: JSON.stringify({ SPDisplaysDataType: [entry] }) };
    };
  };
  const ram = { totalMb: 16_384, availableMb: 9000 };

  it('shares the memory of the machine', async () => {
    const run = displays({ sppci_model: 'Apple M2', spdisplays_mtlgpufamilysupport: 'spdisplays_metal3' });
    await expect(findMetalDevices(run, ram)).resolves.toMatchObject([
      { backend: 'metal', index: 0, name: 'Apple M2', memoryTotalMb: 12_288, memoryFreeMb: 9000 },
    ]);
  });

  it('finds none without support or without the tool', async () => {
    await expect(findMetalDevices(displays({ sppci_model: 'Old' }), ram)).resolves.toEqual([]);
    await expect(findMetalDevices(none, ram)).resolves.toEqual([]);
  });
});

describe('readLinuxMemory', () => {
  const GB = 1024 * 1024 * 1024;
  async function machine(name: string, files: Record<string, string>): Promise<string> {
    const root = join(folder, name);
    const meminfo = 'MemTotal:       16777216 kB\nMemFree:         1000000 kB\nMemAvailable:    8388608 kB\n';
    for (const [path, text] of Object.entries({ 'proc/meminfo': meminfo, ...files })) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    return root;
  }

  it('takes what is available, not what is free', async () => {
    const root = await machine('plain', {});
    await expect(readLinuxMemory(root)).resolves.toEqual({ totalMb: 16_384, availableMb: 8192 });
  });

  it('obeys the tightest group of version 2, counting droppable cache as free', async () => {
    const root = await machine('v2', {
      'proc/self/cgroup': '0::/outer/inner\n',
      'sys/fs/cgroup/outer/memory.max': `${4 * GB}\n`,
      'sys/fs/cgroup/outer/memory.current': `${3 * GB}\n`,
      'sys/fs/cgroup/outer/memory.stat': `anon 5\ninactive_file ${GB}\n`,
      'sys/fs/cgroup/outer/inner/memory.max': 'max\n',
      'sys/fs/cgroup/outer/inner/memory.current': `${GB}\n`,
    });
    await expect(readLinuxMemory(root)).resolves.toEqual({ totalMb: 4096, availableMb: 2048 });
  });

  it('obeys a group of version 1, and ignores its way of saying "no limit"', async () => {
    const limited = await machine('v1', {
      'proc/self/cgroup': '4:memory:/docker/abc\n1:name=systemd:/\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': `${2 * GB}\n`,
      'sys/fs/cgroup/memory/memory.usage_in_bytes': `${GB / 2}\n`,
      'sys/fs/cgroup/memory/memory.stat': 'total_inactive_file 0\n',
    });
    await expect(readLinuxMemory(limited)).resolves.toEqual({ totalMb: 2048, availableMb: 1536 });
    const unlimited = await machine('v1-free', {
      'proc/self/cgroup': '4:memory:/\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/memory.usage_in_bytes': `${GB}\n`,
    });
    await expect(readLinuxMemory(unlimited)).resolves.toEqual({ totalMb: 16_384, availableMb: 8192 });
  });
});

it('counts the reusable pages of vm_stat', () => {
  const text =
    'Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free:          1000.\nPages active:      9000.\n' +
    'Pages inactive:      2000.\nPages speculative:    500.\nPages purgeable:      100.\n';
  expect(parseVmStat(text)).toBe(56);
  expect(parseVmStat('nonsense')).toBeNull();
});

it('measures the disk of a folder that does not exist yet', async () => {
  const disk = await readDisk(join(folder, 'not', 'yet'));
  expect(disk.totalMb).toBeGreaterThan(0);
  expect(disk.availableMb).toBeLessThanOrEqual(disk.totalMb);
});

describe('runProgram', () => {
  it('tells output, failure and absence apart', async () => {
    await expect(runProgram(process.execPath, ['-p', '1+1'])).resolves.toEqual({ ok: true, stdout: '2\n' });
    await expect(runProgram(process.execPath, ['-e', 'process.exit(9)'])).resolves.toEqual({
      ok: false,
      reason: 'failed',
    });
    await expect(runProgram('rbee-no-such-program', [])).resolves.toEqual({ ok: false, reason: 'missing' });
  });
});

describe('MachineProbe', () => {
  const options = () => ({ platform: 'linux' as const, modelsDir: folder });

  it('always finds the CPU and lists what is missing', async () => {
    const { backends } = await new MachineProbe({ ...options(), run: none }).snapshot();
    expect(backends).toEqual([
      { name: 'cpu', available: true, devices: 1 },
      { name: 'cuda', available: false, devices: 0 },
      { name: 'metal', available: false, devices: 0 },
      { name: 'vulkan', available: false, devices: 0 },
    ]);
  });

  it('replaces figures from the probe file, read anew each time', async () => {
    const probeFile = join(folder, 'figures.json');
    const probe = new MachineProbe({ ...options(), run: none, probeFile });
    const gpu = { backend: 'cuda', index: 1, name: 'Test GPU', vram_total_mb: 8000, vram_free_mb: 4000 };
    await writeFile(probeFile, JSON.stringify({ ram_available_mb: 8000, gpus: [gpu] }));
    expect(toResources(await probe.snapshot())).toMatchObject({
      ram_available_mb: 8000,
      ram_available_gb: 7.81,
      gpus: [{ backend: 'cuda', index: 1, name: 'Test GPU', vram_total_mb: 8000, vram_free_mb: 4000 }],
    });
    await writeFile(probeFile, JSON.stringify({ ram_available_mb: 4000 }));
    await expect(probe.ram()).resolves.toMatchObject({ availableMb: 4000 });
  });

  it.each([
    ['missing', undefined],
    ['no JSON', '{'],
    ['an unknown field', '{"ram": 3}'],
    ['a wrong type', '{"ram_available_mb": "much"}'],
    ['an unknown backend', '{"backends": [{"name": "tpu", "available": true, "devices": 1}]}'],
  ])('refuses a probe file that is %s', async (name, text) => {
    const probeFile = join(folder, `bad-${name}.json`);
    if (text !== undefined) await writeFile(probeFile, text);
    const probe = new MachineProbe({ ...options(), run: none, probeFile });
    await expect(probe.snapshot()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

it('prints a detection', () => {
  const detection = toDetection([
    { name: 'cpu', available: true, devices: 1 },
    { name: 'cuda', available: true, devices: 2 },
    { name: 'metal', available: false, devices: 0 },
  ]);
  expect(detection).toEqual({ backends: ['cpu', 'cuda'], devices: { cpu: 1, cuda: 2 }, total_devices: 3 });
  expect(renderDetection(detection)).toContain('backends: ["cpu","cuda"]');
  expect(renderDetection(detection)).toContain('devices: {"cpu":1,"cuda":2}');
  expect(renderDetection(detection)).toContain('Total devices: 3');
});
