import { isRbeeError, RbeeError } from '@rbee/protocol';

/** Whether an error says that a hive or its machine was not reached, or was lost. */
export function isLoss(error: unknown): error is RbeeError {
  return isRbeeError(error) && /^(WORKER_CONNECTION_LOST|CONNECTION_TIMEOUT|SSH_CONNECTION_TIMEOUT)$/.test(error.code);
}

/** Whether the connection to a hive itself broke off or was refused, rather than that it answered late or with an error. */
export function isHiveLost(error: unknown): error is RbeeError {
  if (!isRbeeError(error) || error.details.service !== 'rbee-hive') return false;
  return (
    error.code === 'WORKER_CONNECTION_LOST' ||
    (error.code === 'CONNECTION_TIMEOUT' && error.details.timeout_ms === undefined)
  );
}

/** For `catch`, where several hives are called: throws the same error again, and a lost connection in words that name the node. */
export function atNode(node: string): (error: unknown) => never {
  return (error) => {
    if (!isLoss(error) || error.details.node !== undefined) throw error;
    const { code, message, details, suggestion, retryable } = error;
    throw new RbeeError(code, `${node}: ${message}`, {
      details: { ...details, node },
      suggestion,
      retryable,
      cause: error,
    });
  };
}
