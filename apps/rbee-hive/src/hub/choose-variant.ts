import { DEFAULT_VARIANTS, type ModelRef } from '@rbee/protocol';
import type { HubFile } from './hub.js';
import { baseName, type ModelFileName, readModelFileName } from './model-file-name.js';
import { variantNotFound } from './variant-not-found.js';

export type HubRef = Extract<ModelRef, { provider: 'hf' }>;

/** One file, or one complete set of parts, of a hub repository that can be run. */
export interface HubVariant {
  /** What stands for it in a reference: its quantization, or a file name where that is not enough. */
  readonly variant: string;
  /** In the order of their parts. */
  readonly files: readonly HubFile[];
  /** All files together. */
  readonly sizeBytes: number;
}

/** Files that belong together. */
interface Group {
  readonly name: ModelFileName;
  readonly files: readonly HubFile[];
}

/** The variants of a repository, smallest first. Sets that lack a part are none. */
export function groupVariants(files: readonly HubFile[]): HubVariant[] {
  const groups = groupFiles(files);
  return groups
    .map((group) => ({
      variant: nameVariant(group, groups),
      files: group.files,
      sizeBytes: group.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    }))
    .sort((a, b) => a.sizeBytes - b.sizeBytes || a.variant.localeCompare(b.variant));
}

/** The variant that is taken when a reference names none. */
export function defaultVariant(variants: readonly HubVariant[]): HubVariant | undefined {
  const usual = variants.find(({ variant }) => variant === DEFAULT_VARIANTS.hf);
  return usual ?? (variants.length === 1 ? variants[0] : undefined);
}

/** The variant that a reference means. Throws MODEL_NOT_FOUND that names the variants there are. */
export function chooseVariant(ref: HubRef, files: readonly HubFile[]): HubVariant {
  const variants = groupVariants(files);
  const chosen = ref.variant === undefined ? defaultVariant(variants) : matchVariant(ref.variant, variants);
  if (chosen) return chosen;
  const names = variants.map(({ variant }) => variant);
  throw variantNotFound(ref.reference, ref.variant, names);
}

/** A name of a variant, or of a file with or without folder, number of its part and extension. Letter case does not matter. */
function matchVariant(wanted: string, variants: readonly HubVariant[]): HubVariant | undefined {
  const byName = variants.find(({ variant }) => variant.toLowerCase() === wanted.toLowerCase());
  if (byName) return byName;
  const stem = fileStem(wanted);
  const stemOf = ({ files }: HubVariant) => fileStem(files[0]?.path ?? '');
  const byPath = variants.find((variant) => stemOf(variant) === stem);
  if (byPath || wanted.includes('/')) return byPath;
  const byFile = variants.filter((variant) => baseName(stemOf(variant)) === stem);
  return byFile.length === 1 ? byFile[0] : undefined;
}

function fileStem(path: string): string {
  return path
    .toLowerCase()
    .replace(/\.gguf$/, '')
    .replace(/-\d{5}-of-\d{5}$/, '');
}

function groupFiles(files: readonly HubFile[]): Group[] {
  const sets = new Map<string, { file: HubFile; name: ModelFileName }[]>();
  for (const file of files) {
    const name = readModelFileName(file.path);
    if (name === undefined) continue;
    const key = `${name.stem}\0${name.parts}`;
    sets.set(key, [...(sets.get(key) ?? []), { file, name }]);
  }
  const groups = [...sets.values()].flatMap((set) => {
    const ordered = set.sort((a, b) => a.name.part - b.name.part);
    const [first] = ordered;
    const complete =
      first?.name.parts === ordered.length && ordered.every(({ name }, index) => name.part === index + 1);
    return complete ? [{ name: first.name, files: ordered.map(({ file }) => file) }] : [];
  });
  // Where a file lies there whole and in parts, it is one model; the whole file is simpler.
  return groups.filter(
    ({ name }) => !groups.some((other) => other.name.stem === name.stem && other.name.parts < name.parts),
  );
}

/** Quantization, else the file's name, else its path: the first that only this one has. */
function nameVariant({ name }: Group, groups: readonly Group[]): string {
  const isUnique = (nameOf: (name: ModelFileName) => string | undefined) =>
    groups.filter((other) => nameOf(other.name)?.toLowerCase() === nameOf(name)?.toLowerCase()).length === 1;
  const stem = baseName(name.stem);
  if (name.quantization !== undefined && isUnique(({ quantization }) => quantization)) return name.quantization;
  const takenByOther = groups.some((other) => other.name.quantization?.toLowerCase() === stem.toLowerCase());
  return !takenByOther && isUnique((other) => baseName(other.stem)) ? stem : name.stem;
}
