import { randomBytes } from 'node:crypto';
import { lstat, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RbeeError } from '@rbee/protocol';

/** Names of releases; a leading dot is for what is not a release yet. */
const RELEASE_ID = /^(?!\.)[A-Za-z0-9._-]{1,128}$/;

export function isReleaseId(text: string): boolean {
  return RELEASE_ID.test(text);
}

/**
 * The releases of one installation:
 *
 *     <root>/releases/<id>/        a release
 *     <root>/releases/.incoming-*  one that is being installed
 *     <root>/current               link to the release that is used, as `releases/<id>`
 */
export class ReleaseFolder {
  constructor(readonly root: string) {}

  pathOf(id: string): string {
    return join(this.root, 'releases', id);
  }

  /** Ids of the releases there are, by name. */
  async list(): Promise<string[]> {
    const entries = await readdir(join(this.root, 'releases'), { withFileTypes: true }).catch(toNothing);
    return entries.flatMap((entry) => (entry.isDirectory() && isReleaseId(entry.name) ? entry.name : [])).sort();
  }

  /** The release that is used. Throws INSTALL_FAILED when `current` is something else than a link to a release. */
  async current(): Promise<string | undefined> {
    const link = join(this.root, 'current');
    const entry = await lstat(link).catch(toUndefined);
    if (entry === undefined) return undefined;
    const target = entry.isSymbolicLink() ? await readlink(link) : '';
    const id = basename(target);
    if (basename(dirname(target)) === 'releases' && isReleaseId(id)) return id;
    throw new RbeeError('INSTALL_FAILED', `${link} is in the way: it is no link to a release`, {
      details: { path: link },
      suggestion: 'move it away, then install again',
    });
  }

  /** Lets `current` name another release, in one step: at every moment it names the old or the new one. */
  async use(id: string): Promise<void> {
    const link = join(this.root, `.current-${randomBytes(4).toString('hex')}`);
    await symlink(join('releases', id), link);
    try {
      await rename(link, join(this.root, 'current'));
    } catch (error) {
      await rm(link, { force: true });
      throw error;
    }
  }

  /** Removes a release; it is no release any more before its first file goes. */
  async remove(id: string): Promise<void> {
    const leaving = this.pathOf(`.removed-${id}`);
    await rm(leaving, { recursive: true, force: true });
    await rename(this.pathOf(id), leaving);
    await rm(leaving, { recursive: true, force: true });
  }

  /** Removes what broken installations left and nobody has touched since a moment, in milliseconds since the epoch. */
  async removeLeftovers(before: number): Promise<void> {
    await this.removeOld(join(this.root, 'releases'), /^\.(incoming|removed)-/, before);
    await this.removeOld(this.root, /^\.current-[0-9a-f]{8}$/, before);
  }

  private async removeOld(folder: string, name: RegExp, before: number): Promise<void> {
    const names = await readdir(folder).catch(toNothing);
    for (const path of names.filter((entry) => name.test(entry)).map((entry) => join(folder, entry))) {
      const entry = await lstat(path).catch(toUndefined);
      if (entry && entry.mtimeMs < before) await rm(path, { recursive: true, force: true });
    }
  }
}

function toNothing(error: NodeJS.ErrnoException): never[] {
  if (error.code !== 'ENOENT') throw error;
  return [];
}

function toUndefined(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
