import type { BackendStatus } from '@rbee/protocol';

/** Backends that can be used, with their device counts; the two registry values of a node and the total. */
export function toDetection(backends: readonly BackendStatus[]) {
  const available = backends.filter((backend) => backend.available);
  return {
    backends: available.map((backend) => backend.name),
    devices: Object.fromEntries(available.map((backend) => [backend.name, backend.devices])),
    total_devices: available.reduce((sum, backend) => sum + backend.devices, 0),
  };
}

/** The text that `rbee-hive detect` prints. */
export function renderDetection(detection: ReturnType<typeof toDetection>): string {
  const width = Math.max(...detection.backends.map((name) => name.length));
  const lines = Object.entries(detection.devices).map(
    ([name, count]) => `  ${name.padEnd(width)}  ${count} ${count === 1 ? 'device' : 'devices'}`,
  );
  return [
    'Available backends:',
    ...lines,
    `Total devices: ${detection.total_devices}`,
    '',
    'Registry values:',
    `  backends: ${JSON.stringify(detection.backends)}`,
    `  devices: ${JSON.stringify(detection.devices)}`,
    '',
  ].join('\n');
}
