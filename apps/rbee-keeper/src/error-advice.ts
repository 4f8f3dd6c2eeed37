import type { ErrorCode } from '@rbee/protocol';

/** The part of rbee that an error of a code speaks for; the queen for all that are not listed. */
export function componentOf(code: ErrorCode): string {
  if (KEEPER.has(code)) return 'rbee-keeper';
  if (PROVISIONER.has(code)) return 'model-provisioner';
  if (HIVE.has(code)) return 'rbee-hive';
  if (WORKER.has(code)) return 'llm-worker-rbee';
  return 'queen-rbee';
}

const KEEPER = new Set<ErrorCode>([
  'INVALID_REQUEST',
  'INVALID_MODEL_REF',
  'INVALID_BACKEND',
  'INVALID_NODE_NAME',
  'INVALID_WORKER_ID',
  'VERSION_MISMATCH',
  'CANCELLED',
  'INTERNAL_ERROR',
  'QUEEN_UNREACHABLE',
  'QUEEN_START_FAILED',
  'CONFIG_INVALID',
  'DISK_FULL',
]);

const PROVISIONER = new Set<ErrorCode>([
  'MODEL_NOT_FOUND',
  'MODEL_ACCESS_DENIED',
  'UNSUPPORTED_MODEL_FORMAT',
  'DOWNLOAD_FAILED',
  'DOWNLOAD_TIMEOUT',
  'CHECKSUM_MISMATCH',
  'INSUFFICIENT_DISK',
  'CATALOG_UNAVAILABLE',
]);

const HIVE = new Set<ErrorCode>([
  'INVALID_DEVICE',
  'INVALID_PATH',
  'WORKER_BINARY_NOT_FOUND',
  'NO_FREE_PORT',
  'INSUFFICIENT_RAM',
  'VRAM_EXHAUSTED',
  'VRAM_FRAGMENTED',
  'GPU_TOO_HOT',
  'BACKEND_UNAVAILABLE',
  'GPU_NOT_AVAILABLE',
  'WORKER_SPAWN_FAILED',
  'WORKER_STARTUP_FAILED',
  'LOADING_TIMEOUT',
]);

const WORKER = new Set<ErrorCode>([
  'CONTEXT_LENGTH_EXCEEDED',
  'OUT_OF_MEMORY',
  'CUDA_DEVICE_FAILED',
  'MODEL_LOAD_FAILED',
  'INFERENCE_FAILED',
  'WORKER_CRASHED',
  'WORKER_CONNECTION_LOST',
  'INFERENCE_TIMEOUT',
]);

const MODEL_EXAMPLE = '--model ~/.local/share/rbee/models/my-model.gguf, or --model builtin:honeycomb';
const SMALLER = 'close other programs, or use a smaller quantization of the model';
const HIVE_LOG = 'look at the logs: rbee-keeper logs';

/** What to do about errors that came without a suggestion of their own. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  INVALID_MODEL_REF: `for example ${MODEL_EXAMPLE}`,
  INVALID_BACKEND: 'for example --backend cpu, or --backend cuda --device 0',
  INVALID_DEVICE: 'devices are counted from 0, for example --backend cuda --device 0',
  INVALID_NODE_NAME: 'for example --node localhost',
  INVALID_WORKER_ID: 'list the ids: rbee-keeper workers list',
  WORKER_NOT_FOUND: 'list the workers: rbee-keeper workers list',
  NODE_NOT_FOUND:
    'leave --node out to use this machine; adding others comes with a later version (rbee-keeper setup add-node)',
  MODEL_NOT_FOUND: 'check the spelling of --model and the path on the node',
  UNSUPPORTED_MODEL_FORMAT: 'rbee runs GGUF files: check that the file is one and is complete',
  PAYLOAD_TOO_LARGE: 'shorten the prompt, or allow more: limits.body_bytes in the configuration',
  CONTEXT_LENGTH_EXCEEDED: 'shorten the prompt, lower --max-tokens, or use a model with a longer context',
  MISSING_API_KEY: 'name the key file as auth.api_token_file in the configuration',
  INVALID_API_KEY: 'check the key file named as auth.api_token_file in the configuration',
  INSUFFICIENT_RAM: SMALLER,
  VRAM_EXHAUSTED: `${SMALLER}, or run it on the processor: --backend cpu`,
  OUT_OF_MEMORY: SMALLER,
  BACKEND_UNAVAILABLE: 'choose a backend that the node has, for example --backend cpu',
  GPU_NOT_AVAILABLE: 'install the driver, or run on the processor: --backend cpu',
  ALL_SLOTS_BUSY: 'wait a little and try again, use another node, or start another worker',
  QUEUE_FULL: 'wait a little and try again',
  MODEL_LOAD_FAILED: HIVE_LOG,
  WORKER_SPAWN_FAILED: HIVE_LOG,
  WORKER_STARTUP_FAILED: HIVE_LOG,
  LOADING_TIMEOUT: HIVE_LOG,
  INFERENCE_FAILED: HIVE_LOG,
  HIVE_START_FAILED: 'look at the log of the hive: ~/.rbee/logs/rbee-hive.out.log',
  WORKER_CRASHED: 'repeat the command; if it happens again, look at the logs: rbee-keeper logs',
  WORKER_CONNECTION_LOST: 'check the network and repeat the command',
  INFERENCE_TIMEOUT: 'repeat the command; if it happens again, look at the logs: rbee-keeper logs',
  REQUEST_TIMEOUT: 'allow more time, for example --timeout 10m',
  CONNECTION_TIMEOUT: 'check that the service named above runs',
  QUEEN_UNREACHABLE: 'start one: rbee-keeper queen start',
};

/** The advice for an error of a code, if there is any. */
export function adviceFor(code: ErrorCode): string | undefined {
  return ADVICE[code];
}
