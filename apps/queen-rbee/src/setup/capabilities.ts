import { callJson, type Target } from '@rbee/daemon-kit';
import { type Backend, type BackendStatus, detectionSchema, hiveRoutes, nodeRowSchema } from '@rbee/protocol';
import type { Machine, RunOptions } from '../machine/machine.js';

/** The backends of a node and how many devices each has. */
export interface Capabilities {
  readonly backends: readonly Backend[];
  readonly devices: Readonly<Partial<Record<Backend, number>>>;
}

/** What every machine can do; taken where nothing better is known. */
export const CPU_ONLY: Capabilities = { backends: ['cpu'], devices: { cpu: 1 } };

/**
 * What the hive's program on a machine detects there; `undefined` when it tells nothing useful. `launcher` stands in
 * front of its arguments.
 */
export async function detectCapabilities(
  machine: Machine,
  launcher: readonly string[],
  options: RunOptions,
): Promise<Capabilities | undefined> {
  const { code, stdout } = await machine.run('exec "$@"', [...launcher, 'detect', '--json'], options);
  if (code !== 0) return undefined;
  // The user's start-up files may have said something before it.
  const detection = detectionSchema.safeParse(parseJson(stdout.slice(stdout.indexOf('{'))));
  if (!detection.success) return undefined;
  const devices = nodeRowSchema.shape.devices.safeParse(detection.data.devices);
  return devices.success ? { backends: detection.data.backends, devices: devices.data } : undefined;
}

/** What a hive that answers has. Throws what the call throws. */
export async function askCapabilities(hive: Target, timeoutMs: number, signal: AbortSignal): Promise<Capabilities> {
  const { backends } = await callJson(hive, hiveRoutes.listBackends, { timeoutMs, signal });
  const available = backends.filter((backend) => backend.available);
  return {
    backends: available.map(({ name }) => name),
    devices: Object.fromEntries(available.map(({ name, devices }) => [name, devices])),
  };
}

/** What the user named, completed by what was found. */
export function completeCapabilities(named: Partial<Capabilities>, found: Capabilities): Capabilities {
  const deviceNames = named.devices && (Object.keys(named.devices) as Backend[]);
  const backends = [...new Set(named.backends ?? deviceNames ?? found.backends)];
  const counts = backends.map((name) => [name, found.devices[name] ?? 1] as const);
  return { backends, devices: named.devices ?? Object.fromEntries(counts) };
}

/** In the form in which a hive lists them. */
export function toBackendStatuses({ backends, devices }: Capabilities): BackendStatus[] {
  return backends.map((name) => ({ name, available: true, devices: devices[name] ?? 1 }));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Refused by the schema.
    return undefined;
  }
}
