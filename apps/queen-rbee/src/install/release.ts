import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { RbeeError, VERSION } from '@rbee/protocol';
import { findClosure } from './production-closure.js';

/** The apps that run on a node. */
const NODE_APPS = ['apps/rbee-hive', 'apps/llm-worker'] as const;

/** Folders at the top of a package that nothing needs at run time. */
const UNNEEDED_FOLDERS = new Set(['test', 'tests', '__tests__', 'doc', 'docs', 'example', 'examples', '.github']);
/** Source maps, type declarations and prose; licences are kept. */
const UNNEEDED_FILES = /(\.map|\.d\.[cm]?ts|\.tsbuildinfo|(^|\/)(?!licen[cs]e|notice|copying)[^/]*\.(md|markdown))$/i;

/** A part of the content of a release: a file or a symbolic link, relative to the root. */
export interface Release {
  /** `<version>-<first 12 digits of the SHA-256 of the content>`: the same content has the same id. */
  readonly id: string;
  /** Folder that the paths are relative to. */
  readonly root: string;
  readonly paths: readonly string[];
  /** Sum of the sizes of all files. */
  readonly bytes: number;
}

export interface ReleaseOptions {
  /** Folder of the rbee that this process belongs to: a checkout or an installed release. */
  readonly root: string;
  /**
   * Left out: with everything that the apps need at run time. Given: without, as the node named installs that itself.
   */
  readonly installedFor?: string;
}

/** Lists what a node needs of this rbee. Throws INSTALL_FAILED when a part of it is missing here. */
export async function readRelease({ root: given, installedFor }: ReleaseOptions): Promise<Release> {
  const root = await realpath(given);
  for (const app of NODE_APPS) {
    if (!existsSync(join(root, app, 'dist', 'main.js'))) throw incomplete(root, `${app}/dist/main.js`);
  }
  const paths = await listOwnFiles(root);
  if (installedFor === undefined) paths.push(...(await listDependencies(root)));
  else paths.push(...(await listManifests(root)));
  paths.sort();
  const hash = createHash('sha256').update(installedFor ?? '');
  let bytes = 0;
  for (const path of paths) {
    const full = join(root, path);
    const stat = await lstat(full);
    const isLink = stat.isSymbolicLink();
    const content = isLink ? await readlink(full) : await readFile(full);
    const digest = createHash('sha256').update(content).digest('hex');
    hash.update(`${path}\0${isLink ? 'link' : stat.mode & 0o100 ? 'program' : 'file'}\0${digest}\0`);
    if (!isLink) bytes += stat.size;
  }
  return { id: `${VERSION}-${hash.digest('hex').slice(0, 12)}`, root, paths, bytes };
}

async function listOwnFiles(root: string): Promise<string[]> {
  const paths = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'];
  for (const name of ['LICENSE', 'NOTICE']) if (existsSync(join(root, name))) paths.push(name);
  for (const app of NODE_APPS) {
    paths.push(`${app}/package.json`);
    for (const folder of [`${app}/bin`, `${app}/dist`]) {
      paths.push(...(await listFiles(root, folder, (path) => !path.endsWith('.map'))));
    }
  }
  const models = await listFiles(root, 'models', (path) => /^models\/[^/]+\.gguf$/.test(path));
  if (models.length === 0) throw incomplete(root, 'models/*.gguf');
  return [...paths, ...models];
}

/** The other manifests of the workspace, without which its lock file does not fit. */
async function listManifests(root: string): Promise<string[]> {
  const paths: string[] = [];
  for (const group of ['apps', 'packages']) {
    if (!existsSync(join(root, group))) continue;
    for (const name of await readdir(join(root, group))) {
      const path = `${group}/${name}/package.json`;
      if (existsSync(join(root, path)) && !NODE_APPS.some((app) => path.startsWith(`${app}/`))) paths.push(path);
    }
  }
  return paths;
}

async function listDependencies(root: string): Promise<string[]> {
  const { packages, links } = await findClosure(root, NODE_APPS).catch((cause: Error) => {
    throw incomplete(root, cause.message, cause);
  });
  const paths = [...links];
  for (const folder of packages) {
    const isNeeded = neededIn(folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length));
    paths.push(...(await listFiles(root, folder, (path) => isNeeded(path.slice(folder.length + 1)))));
  }
  return paths;
}

/** Tells which files of a package are needed, by their path within it. */
function neededIn(name: string): (path: string) => boolean {
  const isUnneeded = (path: string) =>
    UNNEEDED_FOLDERS.has(path.slice(0, path.indexOf('/'))) || UNNEEDED_FILES.test(path);
  switch (name) {
    case 'better-sqlite3':
      // Beside the addon there are the source of SQLite and what was left over when it was compiled.
      return (path) =>
        /^(build|deps|src)\//.test(path) ? path === 'build/Release/better_sqlite3.node' : !isUnneeded(path);
    case 'node-llama-cpp':
      // A node that no prebuilt engine fits builds one from all of this.
      return (path) => path.startsWith('llama/') || !isUnneeded(path);
    default:
      return (path) => !isUnneeded(path);
  }
}

/** The files and links below a folder, in it at any depth, without packages that are installed within it. */
async function listFiles(root: string, folder: string, isWanted: (path: string) => boolean): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules') paths.push(...(await listFiles(root, path, isWanted)));
    } else if (isWanted(path)) paths.push(path);
  }
  return paths;
}

function incomplete(root: string, what: string, cause?: unknown): RbeeError {
  return new RbeeError(
    'INSTALL_FAILED',
    `this rbee cannot be sent to a node, because a part of it is missing: ${what}`,
    {
      details: { step: 'pack', missing: what, root },
      suggestion: 'run `pnpm build` in the project folder on the machine of the queen, then try again',
      cause,
    },
  );
}
