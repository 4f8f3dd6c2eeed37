import { basename } from 'node:path';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import { toLoadError } from './model-file.js';

const MEMORY =
  /out of memory|insufficient memory|not enough|too large for the available|(failed|unable) to allocate|cudaMalloc|bad_alloc/i;
/** Lines of the engine that only say that loading failed. */
const SAYS_NOTHING = /failed to load model/i;

/** What the failure of a load means, from the engine's exception and from what it logged before. */
export function explainLoadFailure(path: string, failure: unknown, logged: readonly string[]): RbeeError {
  if (isRbeeError(failure)) return failure;
  const message = failure instanceof Error ? failure.message : String(failure);
  const telling = logged
    .map((line) => line.replace(/^.*error loading model: /, ''))
    .filter((line) => !SAYS_NOTHING.test(line));
  const reason = (telling.at(-1) ?? message).replaceAll(path, basename(path));
  const memory = [message, ...logged].find((line) => MEMORY.test(line));
  if (!memory) return toLoadError(basename(path), reason, failure);
  return new RbeeError(
    'OUT_OF_MEMORY',
    `the model ${basename(path)} does not fit into memory while it is loaded: ${memory}`,
    {
      details: { step: 'load', reason: memory },
      suggestion: 'free memory, ask for a smaller context or fewer slots, or use a smaller quantization',
      cause: failure,
    },
  );
}
