import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { formatModelRef, parseModelRef, RbeeError } from '@rbee/protocol';

interface Surroundings {
  readonly cwd: string;
  readonly home: string;
}

const ACCEPTED_FORMS = 'accepted forms: hf:org/repo, hf:org/repo:variant, file:///path/model.gguf, builtin:honeycomb';

/**
 * The model reference that `--model` means. A path (`./x.gguf`, `~/x.gguf`, `/x.gguf`, or the name of a file that exists)
 * becomes a `file://` reference. Throws MODEL_NOT_FOUND for the path of a missing file, since paths are this machine's, and
 * INVALID_MODEL_REF with the right form for what is nearly a reference.
 */
export function toModelRef(argument: string, { cwd, home }: Surroundings, isRemoteNode: boolean): string {
  if (parseModelRef(argument)) return argument;
  const isPath = /^(\.{0,2}|~)\//.test(argument);
  const path = argument.startsWith('~/') ? join(home, argument.slice(2)) : resolve(cwd, argument);
  const exists = existsSync(path);
  if (!isPath && !(exists && argument.endsWith('.gguf'))) {
    const meant = guessModelRef(argument);
    if (meant === undefined) return argument;
    throw new RbeeError('INVALID_MODEL_REF', `${argument} is no model reference; ${ACCEPTED_FORMS}`, {
      suggestion: `write it like this: ${meant}`,
    });
  }
  if (!exists && !isRemoteNode) {
    throw new RbeeError('MODEL_NOT_FOUND', `there is no file ${argument}`, {
      details: { file: argument },
      suggestion: 'check the path, or leave --model out to use the model that comes with rbee',
    });
  }
  return `file://${path}`;
}

const HUB = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/|^(?:hf|huggingface):\/{0,2}/i;
/** `org/repo` with what a page of the hub, or another program, adds to it: a branch, a file, a variant. */
const REPOSITORY =
  /^([\w.-]+\/[\w.-]+)(?:\/(?:blob|resolve|tree)\/[^/]+)?(?:\/(.+\.gguf))?(?::([^?#]+))?\/?(?:[?#].*)?$/;

/** The reference that was probably meant by a text that is none; `undefined` where nothing is near. */
export function guessModelRef(text: string): string | undefined {
  if (/^honeycomb(:|$)/i.test(text)) return formatIfValid(`builtin:${text.toLowerCase()}`);
  const rest = text.replace(HUB, '');
  // What looks like a path of this machine is a file that is missing.
  if (rest === text && /^[^/]*\/[^/]*\.gguf$/i.test(text)) return undefined;
  const [, repository, file, variant = file] = REPOSITORY.exec(rest) ?? [];
  if (repository === undefined) return undefined;
  return formatIfValid(variant === undefined ? `hf:${repository}` : `hf:${repository}:${variant}`);
}

function formatIfValid(text: string): string | undefined {
  const ref = parseModelRef(text);
  return ref && formatModelRef(ref);
}
