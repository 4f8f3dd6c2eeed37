import { describe, expect, it } from '@jest/globals';
import { smallModel } from '../../test/small-model.js';
import type { Device, ProbeSnapshot } from '../probe/snapshot.js';
import { checkRam, checkWorkerFits } from './preflight.js';
import { requiredMemory } from './required-memory.js';

const MB = 1024 * 1024;

function gpu(index: number, memoryFreeMb: number | null, backend: Device['backend'] = 'cuda'): Device {
  return { backend, index, name: `GPU ${index}`, memoryTotalMb: 24_000, memoryFreeMb, temperatureC: 40 };
}

function machine(availableMb: number, devices: Device[] = []): ProbeSnapshot {
  const count = (name: Device['backend']) => devices.filter((device) => device.backend === name).length;
  return {
    backends: [
      { name: 'cpu', available: true, devices: 1 },
      ...(['cuda', 'metal', 'vulkan'] as const).map((name) => {
        return { name, available: count(name) > 0, devices: count(name) };
      }),
    ],
    devices,
    ram: { totalMb: 64_000, availableMb },
    disk: { totalMb: 500_000, availableMb: 400_000 },
  };
}

const ask = (sizeMb: number, backend: Device['backend'], device?: number) => ({
  modelRef: 'hf:org/model',
  sizeBytes: sizeMb * MB,
  backend,
  device,
});

describe('checkWorkerFits', () => {
  it.each([
    ['cpu with memory to spare', ask(5000, 'cpu'), machine(8000), 0],
    ['cpu with exactly enough', ask(5000, 'cpu'), machine(6000), 0],
    ['the asked-for cuda device', ask(5000, 'cuda', 1), machine(8000, [gpu(0, 9000), gpu(1, 6000)]), 1],
    ['the cuda device with most free memory', ask(5000, 'cuda'), machine(8000, [gpu(0, 6500), gpu(1, 9000)]), 1],
    ['the first of equal cuda devices', ask(5000, 'cuda'), machine(8000, [gpu(0, 9000), gpu(1, 9000)]), 0],
    ['metal', ask(5000, 'metal'), machine(8000, [gpu(0, 7000, 'metal')]), 0],
    ['a vulkan device that reports no memory', ask(5000, 'vulkan'), machine(8000, [gpu(2, null, 'vulkan')]), 2],
  ] as const)('accepts %s', (_name, request, snapshot, device) => {
    expect(checkWorkerFits(request, snapshot)).toEqual({ requiredMb: 6000, device });
  });

  it.each([
    ['too little memory', ask(5000, 'cpu'), machine(4000), 'INSUFFICIENT_RAM', { required: 6000, available: 4000 }],
    ['one MB too little', ask(5000, 'cpu'), machine(5999), 'INSUFFICIENT_RAM', { required: 6000, available: 5999 }],
    [
      'too little host memory for a GPU worker, before the missing device',
      ask(5000, 'cuda', 7),
      machine(4000, [gpu(0, 9000)]),
      'INSUFFICIENT_RAM',
      { required: 6000, available: 4000 },
    ],
    [
      'metal on a machine without it',
      ask(5000, 'metal'),
      machine(8000, [gpu(0, 9000)]),
      'BACKEND_UNAVAILABLE',
      { requested: 'metal', available: ['cpu', 'cuda'] },
    ],
    [
      'cuda without a driver',
      ask(5000, 'cuda'),
      machine(8000),
      'GPU_NOT_AVAILABLE',
      { requested: 'cuda', available: ['cpu'] },
    ],
    [
      'a device that does not exist',
      ask(5000, 'cuda', 2),
      machine(8000, [gpu(0, 9000), gpu(1, 9000)]),
      'INVALID_DEVICE',
      { requested: 2, available: [0, 1] },
    ],
    ['a second processor', ask(5000, 'cpu', 1), machine(8000), 'INVALID_DEVICE', { requested: 1, available: [0] }],
    [
      'a model for which the only device is too small, though the host has room',
      { ...ask(1, 'cuda'), sizeBytes: Math.floor((4000 * MB * 10) / 12) },
      machine(16_000, [gpu(0, 2000)]),
      'VRAM_EXHAUSTED',
      { device: 'cuda:0', required: 4000, available: 2000 },
    ],
    [
      'too little memory on the asked-for device, though another has enough',
      ask(5000, 'cuda', 1),
      machine(8000, [gpu(0, 9000), gpu(1, 4000)]),
      'VRAM_EXHAUSTED',
      { device: 'cuda:1', required: 6000, available: 4000 },
    ],
  ] as const)('refuses %s', (_name, request, snapshot, code, details) => {
    expect(() => checkWorkerFits(request, snapshot)).toThrow(
      expect.objectContaining({ code, details: expect.objectContaining(details), suggestion: expect.any(String) }),
    );
  });

  it.each([
    ['asked for', ask(5000, 'cuda', 1), 'backend cuda is available, device 1 exists'],
    ['chosen', ask(5000, 'cuda'), 'backend cuda is available, device 2 has most free memory'],
  ])('says of each check how it went, and of the device whether it was %s', (_how, request, backend) => {
    const said: string[] = [];
    const snapshot = machine(8000, [gpu(0, 6000), gpu(1, 7000), gpu(2, 9000)]);
    const { device } = checkWorkerFits(request, snapshot, [], (check, human) => said.push(`${check}: ${human}`));
    expect(said).toEqual([
      'ram_check: memory: 6000 MB needed (1.2 times its 5000 MB on disk), 8000 MB available',
      `backend_check: ${backend}`,
      `vram_check: cuda:${device}: 6000 MB needed, ${device === 1 ? 7000 : 9000} MB available`,
    ]);
  });

  it('asks the device for less than the host, where the process lies', () => {
    const model = { ...ask(100, 'cuda'), profile: smallModel(), contextSize: 1024, slots: 1 };
    const { requiredMb, deviceMb } = requiredMemory(model);
    expect(requiredMb).toBeGreaterThan(deviceMb);
    const snapshot = (hostMb: number, gpuMb: number) => machine(hostMb, [gpu(0, gpuMb)]);
    expect(checkWorkerFits(model, snapshot(requiredMb, deviceMb))).toEqual({ requiredMb, device: 0 });
    const refuse = (hostMb: number, gpuMb: number) => expect(() => checkWorkerFits(model, snapshot(hostMb, gpuMb)));
    refuse(requiredMb - 1, deviceMb).toThrow(expect.objectContaining({ code: 'INSUFFICIENT_RAM' }));
    refuse(requiredMb, deviceMb - 1).toThrow(expect.objectContaining({ code: 'VRAM_EXHAUSTED' }));
  });

  it('does not promise the same memory twice', () => {
    const snapshot = machine(14_000, [gpu(0, 9000), gpu(1, 8000)]);
    const promised = [{ backend: 'cuda' as const, device: 0, requiredMb: 6000 }];
    expect(checkWorkerFits(ask(5000, 'cuda'), snapshot, promised)).toMatchObject({ device: 1 });
    expect(() => checkWorkerFits(ask(5000, 'cuda', 0), snapshot, promised)).toThrow(
      expect.objectContaining({ code: 'VRAM_EXHAUSTED', details: expect.objectContaining({ available: 3000 }) }),
    );
    expect(() => checkWorkerFits(ask(7000, 'cpu'), snapshot, promised)).toThrow(
      expect.objectContaining({
        code: 'INSUFFICIENT_RAM',
        message: expect.stringContaining('6000 MB more are promised'),
      }),
    );
  });

  it('says so when memory fell during the check', () => {
    const check = { modelRef: 'hf:org/model', requiredMb: 6000, ram: { totalMb: 8000, availableMb: 5000 }, fell: true };
    expect(() => checkRam(check)).toThrow(
      expect.objectContaining({ code: 'INSUFFICIENT_RAM', message: expect.stringContaining('fell during the check') }),
    );
  });
});
