import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { RbeeError } from '@rbee/protocol';

interface Surroundings {
  readonly cwd: string;
  readonly home: string;
}

/**
 * The model reference that `--model` means. A path (`./x.gguf`, `~/x.gguf`, `/x.gguf`, or the name of a file that exists)
 * becomes a `file://` reference. Throws MODEL_NOT_FOUND for the path of a missing file, since paths are this machine's.
 */
export function toModelRef(argument: string, { cwd, home }: Surroundings, isRemoteNode: boolean): string {
  if (/^(hf|builtin|file):/.test(argument)) return argument;
  const isPath = /^(\.{0,2}|~)\//.test(argument);
  const path = argument.startsWith('~/') ? join(home, argument.slice(2)) : resolve(cwd, argument);
  const exists = existsSync(path);
  if (!isPath && !(exists && argument.endsWith('.gguf'))) return argument;
  if (!exists && !isRemoteNode) {
    throw new RbeeError('MODEL_NOT_FOUND', `there is no file ${argument}`, {
      details: { file: argument },
      suggestion: 'check the path, or leave --model out to use the model that comes with rbee',
    });
  }
  return `file://${path}`;
}
