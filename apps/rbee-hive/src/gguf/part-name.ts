import { basename, dirname, join } from 'node:path';

const PART_NAME = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i;
/** Projectors of vision models and importance matrices are GGUF files, but nothing that can be run. */
const NO_MODEL = /mmproj|imatrix/i;

/** What the name of one file of a split model says; `part` counts from 1. */
export interface PartName {
  readonly stem: string;
  readonly part: number;
  readonly parts: number;
}

/** `undefined` for the name of an ordinary file. */
export function readPartName(name: string): PartName | undefined {
  const [, stem, part, parts] = PART_NAME.exec(name) ?? [];
  return stem === undefined ? undefined : { stem, part: Number(part), parts: Number(parts) };
}

/** Paths of all files of a model of so many, whose first one is `path`, which has the name of one. */
export function partsOf(path: string, count: number): string[] {
  const stem = readPartName(basename(path))?.stem;
  if (count <= 1 || stem === undefined) return [path];
  return Array.from({ length: count }, (_, index) => {
    return index === 0 ? path : join(dirname(path), `${stem}-${padded(index + 1)}-of-${padded(count)}.gguf`);
  });
}

/** Whether a file of this name, without a folder, can be one that a model is run from, or a part of such a model. */
export function mayBeModel(name: string): boolean {
  return /\.gguf$/i.test(name) && !NO_MODEL.test(name);
}

/** Number of a part or of parts as names have it. */
export function padded(part: number): string {
  return String(part).padStart(5, '0');
}
