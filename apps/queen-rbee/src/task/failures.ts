import type { RbeeError } from '@rbee/protocol';
import { isHiveLost } from '../node/at-node.js';
import type { LiveNode } from '../node/live-node.js';

/** What a node failed with, while the task had not begun there. */
export class NodeFailure extends Error {
  constructor(
    readonly node: LiveNode,
    readonly reason: RbeeError,
  ) {
    super(reason.message, { cause: reason });
  }
}

/** A worker that did not bring a job to its end: it ended, cannot be reached, stands still, or says what cannot be. */
export class WorkerLost extends Error {
  constructor(
    readonly workerId: string,
    /** What the client hears when the task ends with it. */
    readonly reason: RbeeError,
  ) {
    super(reason.message, { cause: reason });
  }
}

/** Whether an error is about the node rather than about the task: another node may well succeed. */
export function isNodeTrouble(error: RbeeError): boolean {
  const { code, details } = error;
  return (
    // It was tried as often as it may be.
    (code === 'CONNECTION_TIMEOUT' && details.attempts !== undefined) ||
    (code.startsWith('SSH_') && !isBrokenOff(error)) ||
    (code.startsWith('HIVE_') && !isKilledStart(error)) ||
    /^(INSUFFICIENT_|VRAM_|GPU_|BACKEND_)/.test(code) ||
    // It runs as many workers as it may.
    (code === 'WORKER_SPAWN_FAILED' && details.limit !== undefined) ||
    /^(VERSION_MISMATCH|INVALID_RESPONSE|INVALID_API_KEY|MISSING_API_KEY)$/.test(code) ||
    /^(OUT_OF_MEMORY|CUDA_DEVICE_FAILED|INVALID_DEVICE|DISK_FULL)$/.test(code) ||
    /^(WORKER_BINARY_NOT_FOUND|NO_FREE_PORT|CATALOG_UNAVAILABLE)$/.test(code)
  );
}

/** Whether a connection or a process was lost, rather than that somebody refused. */
export function isLoss(error: RbeeError): boolean {
  return /^(WORKER_CRASHED|WORKER_CONNECTION_LOST|CONNECTION_TIMEOUT)$/.test(error.code) || isHiveOrWayLost(error);
}

/** Whether the hive of a task, or the way to it, was lost: that says nothing about the task, and another hive can be started. */
export function isHiveOrWayLost(error: RbeeError): boolean {
  return isHiveLost(error) || isBrokenOff(error) || isKilledStart(error);
}

/** Whether a node failed because it, or its hive, could not be reached, rather than by what it answered. */
export function isAway({ code }: RbeeError): boolean {
  return code === 'SSH_CONNECTION_TIMEOUT' || code === 'CONNECTION_TIMEOUT';
}

/** Whether a hive was killed while it started. */
function isKilledStart({ code, details }: RbeeError): boolean {
  return code === 'HIVE_START_FAILED' && details.killed === true;
}

/** Whether a connection ended that had stood, without going silent first: it may well come about again at once. */
function isBrokenOff({ code, details, retryable }: RbeeError): boolean {
  if (code !== 'SSH_CONNECTION_TIMEOUT' || !retryable) return false;
  return details.attempts === undefined && details.cause !== 'ETIMEDOUT';
}

/** Whether another worker, or the same node looked at afresh, may succeed where this attempt failed. */
export function mayGoElsewhere(error: RbeeError): boolean {
  return isLoss(error) || /^(WORKER_(DRAINING|NOT_READY|NOT_FOUND)|JOB_ALREADY_RUNNING)$/.test(error.code);
}
