import { mayBeModel } from '../gguf/part-name.js';

/** One file of a hub repository as its path tells it. */
export interface ModelFileName {
  /** Path without extension and without the number of a part. */
  readonly stem: string;
  /** Place in a split model; an unsplit one is the only part of one. */
  readonly part: number;
  readonly parts: number;
  /** Quantization in upper case, for example `Q4_K_M`, `UD-IQ2_XXS`, `BF16`; `undefined` when the name has none. */
  readonly quantization: string | undefined;
}

const PART = /-(\d{5})-of-(\d{5})$/;
/** A path that a reference can name: no spaces, no hidden files, and nothing that leads out of its folder. */
const NAMEABLE = /^\w[\w.+-]*(?:\/\w[\w.+-]*)*\.gguf$/i;
/** `UD-` marks the dynamic quantizations of unsloth, which stand beside the plain ones. */
const QUANTIZATION =
  /(?<![a-z0-9])((?:UD-)?(?:(?:I?Q\d|TQ\d)(?:_(?:[KSMLP\d]|X{1,2}[SL]|NL|R\d|K[STL]|KSS))*|B?F16|FP?(?:16|32)|(?:MX|NV)FP4(?:_MOE)?))(?![a-z0-9])/gi;

/** Reads the path of a file; `undefined` for one that is no model. */
export function readModelFileName(path: string): ModelFileName | undefined {
  if (!NAMEABLE.test(path) || path.includes('..') || !mayBeModel(baseName(path))) return undefined;
  const whole = path.replace(/\.gguf$/i, '');
  const [, part = '1', parts = '1'] = PART.exec(whole) ?? [];
  const stem = whole.replace(PART, '');
  const folder = stem.split('/').at(-2) ?? '';
  const quantization = findQuantization(baseName(stem)) ?? findQuantization(folder);
  return { stem, part: Number(part), parts: Number(parts), quantization };
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The last one counts: names of models may have something in them that looks like one. */
function findQuantization(name: string): string | undefined {
  return [...name.matchAll(QUANTIZATION)].at(-1)?.[1]?.toUpperCase();
}
