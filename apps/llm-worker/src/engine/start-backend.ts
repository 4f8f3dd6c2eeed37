import { type Backend, RbeeError } from '@rbee/protocol';
import { getLlama, type Llama, type LlamaGpuType, LlamaLogLevel } from 'node-llama-cpp';
import type { EngineLogTap } from './engine-log.js';

/** The engine hands its log to the first instance of a process alone: that of a later one goes to standard output. */
let first: WeakRef<Llama> | undefined;

/** Whether what this instance logs can be heard, and so may be asked for. */
export function hearsLog(llama: Llama): boolean {
  return first?.deref() === llama;
}

/**
 * Starts the engine on exactly the backend that was asked for; nothing is built, downloaded or replaced by something else. Throws
 * BACKEND_UNAVAILABLE or GPU_NOT_AVAILABLE.
 */
export async function startBackend(backend: Backend, tap: EngineLogTap): Promise<Llama> {
  const gpu: LlamaGpuType = backend === 'cpu' ? false : backend;
  let llama: Llama;
  try {
    llama = await getLlama({
      gpu,
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.warn,
      logger: tap.write,
    });
  } catch (cause) {
    throw toBackendError(backend, 'the engine has no working binary for it on this machine', cause);
  }
  first ??= new WeakRef(llama);
  if (llama.gpu === gpu) return llama;
  const found = llama.gpu === false ? 'cpu' : llama.gpu;
  await llama.dispose();
  throw toBackendError(backend, `the engine offers only ${found}`);
}

function toBackendError(backend: Backend, reason: string, cause?: unknown): RbeeError {
  return new RbeeError('BACKEND_UNAVAILABLE', `the backend ${backend} is not available: ${reason}`, {
    details: { requested: backend, reason },
    suggestion:
      backend === 'cpu' ? 'reinstall rbee for this machine' : `install the ${backend} driver, or ask for --backend cpu`,
    cause,
  });
}
