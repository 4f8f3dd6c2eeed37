import { isRbeeError, RbeeError } from '@rbee/protocol';

/** Whether an error says that a hive or its machine was not reached, or was lost. */
export function isLoss(error: unknown): error is RbeeError {
  return isRbeeError(error) && /^(WORKER_CONNECTION_LOST|CONNECTION_TIMEOUT|SSH_CONNECTION_TIMEOUT)$/.test(error.code);
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
