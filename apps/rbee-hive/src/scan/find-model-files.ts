import type { Dirent } from 'node:fs';
import { opendir, realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { mayBeModel, readPartName } from '../gguf/part-name.js';
import { isPartialName } from '../transfer/partial-file.js';

/** A file below one of the folders that were looked through. */
export interface FoundFile {
  path: string;
  /** Path without symbolic links. */
  real: string;
  /** Path below its folder, for the user. */
  name: string;
}

export interface FoundFiles {
  /** First files of models, by path. */
  models: FoundFile[];
  /** Files of downloads that are not complete. */
  partials: FoundFile[];
  /** Folders that could not be looked into, or not wholly. */
  refused: { name: string; reason: string }[];
}

export interface FindLimits {
  /** Folders below the root. */
  depth: number;
  /** Files and folders in all. */
  entries: number;
}

const LIMITS: FindLimits = { depth: 10, entries: 200_000 };

/**
 * Looks for model files in folders and everything below them. Symbolic links are not followed, except that a root may be
 * one; a root that is missing is left out. Throws the signal's reason.
 */
export async function findModelFiles(
  roots: readonly string[],
  signal?: AbortSignal,
  limits: FindLimits = LIMITS,
): Promise<FoundFiles> {
  const found: FoundFiles = { models: [], partials: [], refused: [] };
  const seen = new Set<string>();
  let left = limits.entries;
  const walk = async (folder: FoundFile, depth: number): Promise<void> => {
    // A root may lie inside another one.
    if (seen.has(folder.real)) return;
    seen.add(folder.real);
    const below: FoundFile[] = [];
    for await (const entry of await opendir(folder.path)) {
      signal?.throwIfAborted();
      if (left-- <= 0) return;
      const file = {
        path: join(folder.path, entry.name),
        real: join(folder.real, entry.name),
        name: join(folder.name, entry.name),
      };
      if (entry.isDirectory()) below.push(file);
      else if (entry.isFile() && isPartialName(entry.name)) found.partials.push(file);
      else if (isModel(entry)) found.models.push(file);
    }
    for (const inner of below) {
      if (depth >= limits.depth) found.refused.push({ name: inner.name, reason: 'the folder lies too deep' });
      else await enter(inner, depth + 1);
    }
  };
  const enter = async (folder: FoundFile, depth: number): Promise<void> => {
    try {
      await walk(folder, depth);
    } catch (error) {
      signal?.throwIfAborted();
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      if (code !== 'ENOENT')
        found.refused.push({ name: folder.name || folder.path, reason: `the folder cannot be read (${code})` });
    }
  };
  for (const root of roots) {
    const path = resolve(root);
    await enter({ path, real: await realpath(path).catch(() => path), name: '' }, 0);
  }
  if (left < 0)
    found.refused.push({ name: 'the rest', reason: `there are more than ${limits.entries} files and folders` });
  found.models.sort((a, b) => (a.path < b.path ? -1 : 1));
  return found;
}

/** Of a split model, its first file. */
function isModel(entry: Dirent): boolean {
  return entry.isFile() && mayBeModel(entry.name) && (readPartName(entry.name)?.part ?? 1) === 1;
}
