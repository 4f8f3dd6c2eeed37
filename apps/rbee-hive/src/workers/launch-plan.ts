import type { Backend } from '@rbee/protocol';

/** Everything that is decided about a worker before its process exists. */
export interface WorkerSpec {
  workerId: string;
  /** The reference as it was asked for, by which the worker is found again. */
  modelRef: string;
  modelPath: string;
  backend: Backend;
  device: number;
  slots?: number | undefined;
  contextSize?: number | undefined;
}

/** Where a worker listens and whom it calls back. */
export interface WorkerAddress {
  host: string;
  port: number;
  callbackUrl: string;
  keyFile: string;
}

/** Command line of the worker program. The key travels in a file: a command line is visible to every user. */
export function workerArguments(spec: WorkerSpec, address: WorkerAddress): string[] {
  return [
    ...['--worker-id', spec.workerId],
    ...['--model', spec.modelPath],
    ...['--model-ref', spec.modelRef],
    ...['--backend', spec.backend],
    ...['--device', String(spec.device)],
    ...['--host', address.host],
    ...['--port', String(address.port)],
    ...['--callback-url', address.callbackUrl],
    ...['--api-key-file', address.keyFile],
    ...(spec.slots === undefined ? [] : ['--slots', String(spec.slots)]),
    ...(spec.contextSize === undefined ? [] : ['--ctx', String(spec.contextSize)]),
  ];
}

/** Variables that lead to a secret of the hive, or are one. */
const SECRETS = ['HF_TOKEN', 'CREDENTIALS_DIRECTORY', 'RBEE_HIVE_TOKEN_FILE'];
/** Variables that only the hive itself has use for. */
const NOT_FOR_WORKERS = new Set([...SECRETS, 'RBEE_PROBE_FILE', 'RBEE_CATALOG_DB']);

/** The hive's environment without what leads to its secrets: no program that it starts inherits them. */
export function withoutSecrets(
  variables: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !SECRETS.includes(name)));
}

/**
 * Environment of the worker process. One libuv thread keeps all decode calls on one thread, which the compute threads
 * need to stay in step. The device index is put into effect by hiding the other GPUs from the process.
 */
export function workerVariables(
  { backend, device }: Pick<WorkerSpec, 'backend' | 'device'>,
  inherited: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const kept = Object.fromEntries(Object.entries(inherited).filter(([name]) => !NOT_FOR_WORKERS.has(name)));
  return {
    ...kept,
    UV_THREADPOOL_SIZE: '1',
    ...(backend === 'cuda' && { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: String(device) }),
    ...(backend === 'vulkan' && { GGML_VK_VISIBLE_DEVICES: String(device) }),
  };
}
