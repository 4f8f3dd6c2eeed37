interface CodeFacts {
  /** HTTP status of an answer with this code; `null` for codes that never travel over HTTP. */
  readonly status: number | null;
  /** Whether the same request may succeed when it is simply repeated. */
  readonly retryable?: true;
  /** Older names of the code, sent beside it and accepted when read. */
  readonly aliases?: readonly string[];
}

/** Every error code of rbee. No answer, event or exit carries a code that is not listed here. */
export const ERROR_CATALOGUE = {
  INVALID_REQUEST: { status: 400 },
  INVALID_MODEL_REF: { status: 400 },
  INVALID_BACKEND: { status: 400 },
  INVALID_DEVICE: { status: 400 },
  INVALID_NODE_NAME: { status: 400 },
  INVALID_WORKER_ID: { status: 400 },
  INVALID_PATH: { status: 400 },
  UNSUPPORTED_FIELD: { status: 400 },
  UNSUPPORTED_MODEL_FORMAT: { status: 400 },
  CONTEXT_LENGTH_EXCEEDED: { status: 400 },
  PAYLOAD_TOO_LARGE: { status: 413 },
  TOO_MANY_REQUESTS: { status: 429, retryable: true },
  QUOTA_EXCEEDED: { status: 429 },
  MISSING_API_KEY: { status: 401 },
  INVALID_API_KEY: { status: 401 },
  FORBIDDEN: { status: 403 },
  NOT_FOUND: { status: 404 },
  METHOD_NOT_ALLOWED: { status: 405 },
  NODE_NOT_FOUND: { status: 404 },
  NODE_ALREADY_EXISTS: { status: 409 },
  NO_NODE_FITS: { status: 503 },
  REGISTRY_ERROR: { status: 500 },
  SSH_KEY_NOT_FOUND: { status: 400 },
  SSH_CONNECTION_TIMEOUT: { status: 503, retryable: true },
  SSH_AUTH_FAILED: { status: 503 },
  SSH_COMMAND_FAILED: { status: 503 },
  SSH_HOST_KEY_CHANGED: { status: 503 },
  SSH_FORWARDING_DENIED: { status: 503 },
  HIVE_NOT_INSTALLED: { status: 503 },
  HIVE_START_FAILED: { status: 503 },
  CONNECTION_TIMEOUT: { status: 503, retryable: true },
  INVALID_RESPONSE: { status: 502 },
  VERSION_MISMATCH: { status: 409 },
  INSTALL_FAILED: { status: 500 },
  WORKER_BINARY_NOT_FOUND: { status: 500 },
  WORKER_BUILD_FAILED: { status: 500 },
  CUDA_TOOLKIT_MISSING: { status: 500 },
  BINARY_VERIFICATION_FAILED: { status: 500 },
  NO_FREE_PORT: { status: 500 },
  MODEL_NOT_FOUND: { status: 404 },
  MODEL_ACCESS_DENIED: { status: 403 },
  DOWNLOAD_FAILED: { status: 500, retryable: true },
  DOWNLOAD_TIMEOUT: { status: 408, retryable: true },
  CHECKSUM_MISMATCH: { status: 500 },
  INSUFFICIENT_DISK: { status: 507, aliases: ['INSUFFICIENT_RESOURCES'] },
  DISK_FULL: { status: 507 },
  CATALOG_UNAVAILABLE: { status: 503, retryable: true },
  INSUFFICIENT_RAM: { status: 507, aliases: ['VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'] },
  VRAM_EXHAUSTED: { status: 507, aliases: ['GPU_VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'] },
  OUT_OF_MEMORY: { status: 507 },
  VRAM_FRAGMENTED: { status: 507 },
  GPU_TOO_HOT: { status: 503 },
  BACKEND_UNAVAILABLE: { status: 503 },
  GPU_NOT_AVAILABLE: { status: 503 },
  CUDA_DEVICE_FAILED: { status: 503 },
  WORKER_SPAWN_FAILED: { status: 500 },
  WORKER_STARTUP_FAILED: { status: 500 },
  MODEL_LOAD_FAILED: { status: 500 },
  LOADING_TIMEOUT: { status: 408 },
  WORKER_NOT_FOUND: { status: 404 },
  WORKER_ALREADY_REGISTERED: { status: 409 },
  JOB_ALREADY_RUNNING: { status: 409 },
  WORKER_NOT_READY: { status: 503, retryable: true },
  WORKER_DRAINING: { status: 503, retryable: true },
  ALL_SLOTS_BUSY: { status: 503, retryable: true },
  QUEUE_FULL: { status: 503 },
  INFERENCE_FAILED: { status: 500 },
  WORKER_CRASHED: { status: 500, retryable: true, aliases: ['WORKER_FAILED'] },
  WORKER_CONNECTION_LOST: { status: 503, retryable: true },
  RESUME_IMPOSSIBLE: { status: 500 },
  INFERENCE_TIMEOUT: { status: 408 },
  REQUEST_TIMEOUT: { status: 408 },
  DEADLINE_UNREACHABLE: { status: 408 },
  CANCELLED: { status: 499, aliases: ['REQUEST_CANCELED'] },
  INTERNAL_ERROR: { status: 500 },
  QUEEN_UNREACHABLE: { status: null },
  QUEEN_START_FAILED: { status: null },
  CONFIG_INVALID: { status: null },
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/** Facts of one code. */
export function factsOf(code: ErrorCode): CodeFacts {
  return ERROR_CATALOGUE[code];
}

const CURRENT_NAME_OF_ALIAS = new Map<string, ErrorCode>([
  ['GPU_VRAM_EXHAUSTED', 'VRAM_EXHAUSTED'],
  ['INSUFFICIENT_RESOURCES', 'INSUFFICIENT_RAM'],
  ['WORKER_FAILED', 'WORKER_CRASHED'],
  ['REQUEST_CANCELED', 'CANCELLED'],
]);

/** The catalogue's code for a name read from a peer, older names included; `undefined` for anything else. */
export function toErrorCode(name: string): ErrorCode | undefined {
  return Object.hasOwn(ERROR_CATALOGUE, name) ? (name as ErrorCode) : CURRENT_NAME_OF_ALIAS.get(name);
}
