import type { Steps } from './install-step.js';

/** Throws INSTALL_FAILED with both figures when a node has less space than an installation takes. */
export function requireSpace(
  steps: Steps,
  node: string,
  installPath: string,
  requiredBytes: number,
  freeBytes: number | undefined,
): void {
  if (freeBytes === undefined || freeBytes >= requiredBytes) return;
  const required_mb = Math.ceil(requiredBytes / 1e6);
  const available_mb = Math.floor(freeBytes / 1e6);
  const message = `${required_mb} MB are needed at ${installPath}, and ${available_mb} MB are free`;
  throw steps.failed('space', [message], undefined, {
    details: { required_mb, available_mb },
    suggestion: `free some space on ${node} (df -h shows how much there is), then try again`,
  });
}
