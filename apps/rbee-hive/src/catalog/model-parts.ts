import { basename, dirname, join } from 'node:path';

const PART_NAME = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i;

/** Paths of all files of a model, whose first one is `path`. */
export function partsOf(path: string, count: number): string[] {
  const match = PART_NAME.exec(basename(path));
  if (count <= 1 || match === null) return [path];
  const total = String(count).padStart(5, '0');
  return Array.from({ length: count }, (_, index) => {
    const name = `${match[1]}-${String(index + 1).padStart(5, '0')}-of-${total}.gguf`;
    return index === 0 ? path : join(dirname(path), name);
  });
}

/** Whether a file of this name is a part of a split model, but not its first one. */
export function isLaterPart(name: string): boolean {
  const part = PART_NAME.exec(name)?.[2];
  return part !== undefined && Number(part) !== 1;
}
