import { lstat, readFile, realpath } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

/** Packages that programs need at run time, as they are laid out below a root folder. */
export interface Closure {
  /** Folders of packages, relative to the root. */
  readonly packages: readonly string[];
  /** Symbolic links by which packages find each other, relative to the root. */
  readonly links: readonly string[];
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Everything that some packages of a workspace need at run time, found as Node.js finds it. Other packages of the
 * workspace are left out, because the programs have them built in, and with them what only they need. Throws when
 * something needed is not installed.
 */
export async function findClosure(root: string, apps: readonly string[]): Promise<Closure> {
  // A link leads to a real path, so the root itself must be one to compare with.
  const realRoot = await realpath(root);
  const packages = new Set<string>();
  const links = new Set<string>();

  const follow = async (folder: string, name: string, optional: boolean): Promise<void> => {
    const found = await findPackage(realRoot, folder, name);
    if (found === undefined) {
      if (optional) return;
      throw new Error(`${name}, which ${relative(realRoot, folder)} needs, is not installed`);
    }
    if ((await lstat(found)).isSymbolicLink()) links.add(relative(realRoot, found));
    const real = await realpath(found);
    const path = relative(realRoot, real);
    if (packages.has(path)) return;
    packages.add(path);
    await walk(real);
  };
  const walk = async (folder: string): Promise<void> => {
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
    const optional = manifest.optionalDependencies ?? {};
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...optional })) {
      if (!version.startsWith('workspace:')) await follow(folder, name, name in optional);
    }
  };
  for (const app of apps) await walk(join(realRoot, app));
  return { packages: [...packages].sort(), links: [...links].sort() };
}

/** The nearest folder of a package above another one, without leaving the root. */
async function findPackage(root: string, folder: string, name: string): Promise<string | undefined> {
  for (let current = folder; ; current = dirname(current)) {
    const candidate = join(current, 'node_modules', name);
    if (await exists(candidate)) return candidate;
    if (current === root || current === dirname(current)) return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
