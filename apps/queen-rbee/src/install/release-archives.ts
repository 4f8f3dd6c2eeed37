import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Clock, makeStateFolder } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { Release } from './release.js';

const KEPT_ARCHIVES = 2;
/**
 * Of 1 to 9; higher takes several times as long and saves few percent, as most of the content is compressed already.
 */
const COMPRESSION = 4;

/** Of every file in an archive, so that the same content gives the same archive. */
const FILE_TIME = new Date(Date.UTC(2000, 0, 1));

/** A release in one file. */
export interface ReleaseArchive {
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/**
 * Tells the packer for every file that its first link is outside of what it packs. A package manager links equal files
 * with each other and with its store; as files of their own they do no harm, and deferring them can stall the packer.
 */
class NoHardLinks extends Map<`${number}:${number}`, string> {
  override get(): string {
    return '(outside)';
  }
}

/** Packs releases, and keeps the newest archives so that many nodes get the same file. */
export class ReleaseArchives {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #packing = new Map<string, Promise<ReleaseArchive>>();

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** The archive of a release; who asks for the same one at the same time shares the work. Throws INSTALL_FAILED. */
  get(release: Release): Promise<ReleaseArchive> {
    let packing = this.#packing.get(release.id);
    if (!packing) {
      packing = this.#get(release).finally(() => this.#packing.delete(release.id));
      this.#packing.set(release.id, packing);
    }
    return packing;
  }

  async #get(release: Release): Promise<ReleaseArchive> {
    makeStateFolder(this.#folder);
    const path = join(this.#folder, `${release.id}.tar.gz`);
    try {
      if ((await sizeOf(path)) === undefined) await this.#pack(release, path);
      const now = this.#clock.now() / 1000;
      await utimes(path, now, now);
      await this.#removeOld(path);
      return { path, bytes: (await stat(path)).size, sha256: await digestOf(path) };
    } catch (cause) {
      if (isRbeeError(cause)) throw cause;
      throw toPackError(this.#folder, cause as NodeJS.ErrnoException);
    }
  }

  async #pack(release: Release, path: string): Promise<void> {
    const { create } = await import('tar');
    const temporary = `${path}.${process.pid}`;
    try {
      await create(
        {
          file: temporary,
          cwd: release.root,
          gzip: { level: COMPRESSION },
          // The owners and times of this machine mean nothing on another one.
          portable: true,
          mtime: FILE_TIME,
          noDirRecurse: true,
          linkCache: new NoHardLinks(),
          strict: true,
        },
        [...release.paths],
      );
      await chmod(temporary, 0o600);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Removes all but the newest archives, and what a queen that was killed left half packed. */
  async #removeOld(current: string): Promise<void> {
    const files: { path: string; usedAt: number }[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const usedAt = (await stat(path)).mtimeMs;
      if (name.endsWith('.tar.gz')) files.push({ path, usedAt });
      else if (this.#clock.now() - usedAt > 3_600_000) await rm(path, { force: true });
    }
    files.sort((a, b) => b.usedAt - a.usedAt);
    for (const { path } of files.slice(KEPT_ARCHIVES)) if (path !== current) await rm(path, { force: true });
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

function toPackError(folder: string, cause: NodeJS.ErrnoException): RbeeError {
  const full = cause.code === 'ENOSPC' || cause.code === 'EDQUOT';
  return new RbeeError(
    'INSTALL_FAILED',
    `the release cannot be packed on the machine of the queen: ${full ? 'its disk is full' : cause.message}`,
    {
      details: { step: 'pack', cause: cause.code, folder },
      suggestion: `look at ${folder} (df -h shows how much space there is), then try again`,
      cause,
    },
  );
}
