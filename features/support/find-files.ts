import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Paths below a folder, of files and folders with a name; links are not followed, nor installed packages looked into. */
export function findFiles(folder: string, name: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const below = entry.isDirectory() && entry.name !== 'node_modules' ? findFiles(path, name) : [];
    return entry.name === name ? [path, ...below] : below;
  });
}
