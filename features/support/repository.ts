import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PROJECT } from './world.js';

const AUTHOR = ['-c', 'user.name=Scenario', '-c', 'user.email=scenario@example.invalid'] as const;

/**
 * A git repository of this project as it stands, uncommitted changes included, in one commit on the branch, which is returned. What
 * stands on `main` beside it is an empty commit.
 */
export function makeProjectRepository(folder: string, branch: string): string {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--initial-branch=main');
  git(folder, ...AUTHOR, 'commit', '--quiet', '--allow-empty', '-m', 'Nothing yet');
  git(folder, 'checkout', '--quiet', '-b', branch);
  const files = git(PROJECT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard')
    .split('\0')
    .filter(Boolean);
  for (const file of new Set(files)) {
    // A file that was removed and not yet committed is still listed.
    if (!existsSync(join(PROJECT, file))) continue;
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(PROJECT, file), join(folder, file), { verbatimSymlinks: true });
  }
  return commit(folder);
}

/** A git repository that needs no packages, and whose build prints some lines and fails with the last one. Returns its commit. */
export function makeBrokenRepository(folder: string, lastLine: string): string {
  const packageManager = `pnpm@${pnpmVersion()}`;
  const files = {
    'package.json': JSON.stringify({ name: 'broken', version: '0.1.0', private: true, type: 'module', packageManager }),
    'pnpm-workspace.yaml': 'packages: []\npmOnFail: ignore\n',
    'pnpm-lock.yaml':
      "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n",
    'apps/rbee-hive/package.json': '{}\n',
    // The engine for this machine, which an installation would fetch.
    'apps/llm-worker/node_modules/node-llama-cpp/package.json': '{"version": "0.0.0"}\n',
    [`apps/llm-worker/node_modules/@node-llama-cpp/linux-${process.arch}/package.json`]: '{}\n',
    'scripts/build.mjs': `console.error('gluing the combs');\nconsole.error(${JSON.stringify(lastLine)});\nprocess.exit(3);\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  git(folder, 'init', '--quiet', '--initial-branch=main');
  return commit(folder);
}

function pnpmVersion(): string {
  const { packageManager } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')) as {
    packageManager: string;
  };
  return packageManager.split('@')[1] ?? '';
}

/** A git repository without any commit. */
export function makeEmptyRepository(folder: string): void {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet');
}

/** Whether a folder is a repository that has a commit. */
export function hasCommit(folder: string, commit: string): boolean {
  try {
    return git(folder, 'cat-file', '-t', commit).trim() === 'commit';
  } catch {
    return false;
  }
}

function commit(folder: string): string {
  git(folder, 'add', '--all', '--force');
  git(folder, ...AUTHOR, 'commit', '--quiet', '-m', 'All');
  return git(folder, 'rev-parse', 'HEAD').trim();
}

function git(folder: string, ...args: string[]): string {
  return execFileSync('git', ['-c', 'safe.directory=*', '-C', folder, ...args], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 16 * 1024 * 1024,
  });
}
