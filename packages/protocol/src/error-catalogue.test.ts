import { describe, expect, it } from '@jest/globals';
import { ERROR_CATALOGUE, type ErrorCode, factsOf, toErrorCode } from './error-catalogue.js';

/** The published catalogue by status; codes without one exist only on the command line and at a start. */
const CODES_BY_STATUS: readonly (readonly [number | null, string])[] = [
  [
    400,
    `INVALID_REQUEST INVALID_MODEL_REF INVALID_BACKEND INVALID_DEVICE INVALID_NODE_NAME INVALID_WORKER_ID INVALID_PATH
     UNSUPPORTED_MODEL_FORMAT CONTEXT_LENGTH_EXCEEDED SSH_KEY_NOT_FOUND UNSUPPORTED_FIELD`,
  ],
  [401, 'MISSING_API_KEY INVALID_API_KEY'],
  [403, 'FORBIDDEN MODEL_ACCESS_DENIED'],
  [404, 'NOT_FOUND NODE_NOT_FOUND MODEL_NOT_FOUND WORKER_NOT_FOUND'],
  [405, 'METHOD_NOT_ALLOWED'],
  [408, 'DOWNLOAD_TIMEOUT LOADING_TIMEOUT INFERENCE_TIMEOUT REQUEST_TIMEOUT DEADLINE_UNREACHABLE'],
  [409, 'NODE_ALREADY_EXISTS VERSION_MISMATCH WORKER_ALREADY_REGISTERED JOB_ALREADY_RUNNING'],
  [413, 'PAYLOAD_TOO_LARGE'],
  [429, 'TOO_MANY_REQUESTS QUOTA_EXCEEDED'],
  [499, 'CANCELLED'],
  [
    500,
    `REGISTRY_ERROR INSTALL_FAILED WORKER_BINARY_NOT_FOUND WORKER_BUILD_FAILED CUDA_TOOLKIT_MISSING
     BINARY_VERIFICATION_FAILED NO_FREE_PORT DOWNLOAD_FAILED CHECKSUM_MISMATCH WORKER_SPAWN_FAILED
     WORKER_STARTUP_FAILED MODEL_LOAD_FAILED INFERENCE_FAILED WORKER_CRASHED RESUME_IMPOSSIBLE INTERNAL_ERROR`,
  ],
  [502, 'INVALID_RESPONSE'],
  [
    503,
    `SSH_CONNECTION_TIMEOUT SSH_AUTH_FAILED SSH_COMMAND_FAILED SSH_HOST_KEY_CHANGED SSH_FORWARDING_DENIED
     HIVE_NOT_INSTALLED HIVE_START_FAILED CONNECTION_TIMEOUT CATALOG_UNAVAILABLE GPU_TOO_HOT BACKEND_UNAVAILABLE
     GPU_NOT_AVAILABLE CUDA_DEVICE_FAILED WORKER_NOT_READY WORKER_DRAINING ALL_SLOTS_BUSY QUEUE_FULL NO_NODE_FITS
     WORKER_CONNECTION_LOST`,
  ],
  [507, 'INSUFFICIENT_DISK DISK_FULL INSUFFICIENT_RAM VRAM_EXHAUSTED OUT_OF_MEMORY VRAM_FRAGMENTED'],
  [null, 'QUEEN_UNREACHABLE QUEEN_START_FAILED CONFIG_INVALID'],
];

const STATUSES = Object.fromEntries(
  CODES_BY_STATUS.flatMap(([status, codes]) => codes.split(/\s+/).map((code) => [code, status])),
);

const RETRYABLE = `ALL_SLOTS_BUSY WORKER_NOT_READY WORKER_DRAINING WORKER_CRASHED WORKER_CONNECTION_LOST
  CONNECTION_TIMEOUT SSH_CONNECTION_TIMEOUT CATALOG_UNAVAILABLE TOO_MANY_REQUESTS DOWNLOAD_FAILED
  DOWNLOAD_TIMEOUT`.split(/\s+/);

const ALIASES: Record<string, readonly string[]> = {
  INSUFFICIENT_DISK: ['INSUFFICIENT_RESOURCES'],
  INSUFFICIENT_RAM: ['VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'],
  VRAM_EXHAUSTED: ['GPU_VRAM_EXHAUSTED', 'INSUFFICIENT_RESOURCES'],
  WORKER_CRASHED: ['WORKER_FAILED'],
  CANCELLED: ['REQUEST_CANCELED'],
};

const codes = Object.keys(ERROR_CATALOGUE) as ErrorCode[];

describe('the catalogue', () => {
  it('has exactly the published codes with their statuses', () => {
    expect(Object.fromEntries(codes.map((code) => [code, factsOf(code).status]))).toEqual(STATUSES);
  });

  it('calls exactly the published codes retryable', () => {
    expect(codes.filter((code) => factsOf(code).retryable).sort()).toEqual([...RETRYABLE].sort());
  });

  it('has exactly the published older names', () => {
    const aliases = codes.flatMap((code) => (factsOf(code).aliases ? [[code, factsOf(code).aliases]] : []));
    expect(Object.fromEntries(aliases)).toEqual(ALIASES);
  });
});

describe('a name that was read', () => {
  it.each(codes)('%s is itself', (code) => expect(toErrorCode(code)).toBe(code));

  it.each([
    ['GPU_VRAM_EXHAUSTED', 'VRAM_EXHAUSTED'],
    ['INSUFFICIENT_RESOURCES', 'INSUFFICIENT_RAM'],
    ['WORKER_FAILED', 'WORKER_CRASHED'],
    ['REQUEST_CANCELED', 'CANCELLED'],
  ])('%s is the older name of %s', (older, current) => expect(toErrorCode(older)).toBe(current));

  it('is understood for every older name, as a code that has it', () => {
    for (const [code, older] of Object.entries(ALIASES).flatMap(([key, list]) => list.map((name) => [key, name]))) {
      const current = toErrorCode(older as string);
      expect(current === older || factsOf(current as ErrorCode).aliases?.includes(older as string)).toBe(true);
      expect(ERROR_CATALOGUE).toHaveProperty(code as string);
    }
  });

  it.each(['', 'constructor', '__proto__', 'toString', 'not_found', 'SOMETHING_ELSE'])('%j is unknown', (name) => {
    expect(toErrorCode(name)).toBeUndefined();
  });
});
