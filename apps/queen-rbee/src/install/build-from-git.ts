import type { Narrate } from '@rbee/daemon-kit';
import { asStep } from './install-lock.js';
import type { Steps } from './install-step.js';
import { installPackages } from './node-packages.js';
import { activateRelease, listReleases, type NodePlace, passesSelfTest } from './node-release.js';
import type { Platform } from './platform.js';
import { requireSpace } from './require-space.js';

/** What a checkout takes with everything that is needed to build it. */
const BUILD_BYTES = 800e6;

/**
 * Fetches the branch ($4) of a repository ($3) into a local one ($2), whose own branches and files stay as they are,
 * and prints the commit. It is made where it is missing, by way of a name that is cleaned up.
 */
const FETCH = `
if ! git --version >/dev/null 2>&1; then echo 'git was not found' >&2; exit 127; fi
GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false SSH_ASKPASS=false
export GIT_TERMINAL_PROMPT GIT_ASKPASS SSH_ASKPASS
if [ -z "\${GIT_SSH_COMMAND:-}\${GIT_SSH:-}$(git config core.sshCommand)" ]; then
  GIT_SSH_COMMAND='ssh -o BatchMode=yes'
  export GIT_SSH_COMMAND
fi
repository=$2
if [ ! -d "$repository" ]; then
  repository=$1/releases/.incoming-source
  git init --quiet -- "$repository" || exit 1
fi
cd -- "$repository" || exit 1
# The repository of the install path is used under its lock only: what a git that was killed has locked is nobody's.
if [ "$repository" = "$1/source" ]; then find .git -name '*.lock' -type f -exec rm -f {} +; fi
git -c protocol.ext.allow=never fetch --quiet --force --no-tags --no-recurse-submodules -- "$3" "+refs/heads/$4:refs/rbee/$4" || exit 1
git rev-parse --verify --quiet "refs/rbee/$4^{commit}" || exit 1
if [ "$repository" != "$2" ]; then
  printf '%s' "$2" >"$1/.installing/source" && mv -- "$repository" "$2"
fi
`;

/** Puts the files of a commit ($3) of the repository ($2) into a new folder ($4). */
const EXPORT = `
mkdir -- "$4" || exit 1
(cd -- "$2" && git archive --format=tar --output="$4.tar" "$3") || exit 1
tar -xof - -C "$4" <"$4.tar" || exit 1
rm -f -- "$4.tar"
if [ ! -f "$4/apps/rbee-hive/package.json" ] || [ ! -f "$4/scripts/build.mjs" ]; then
  echo 'this repository is not one of rbee: it has no apps/rbee-hive' >&2
  exit 65
fi
`;

const BUILD = `
PATH=$(dirname "$2"):$PATH; CI=1; export PATH CI
cd -- "$3" || exit 1
exec 2>&1
node scripts/build.mjs
`;

export interface BuildOptions {
  readonly node: string;
  readonly place: NodePlace;
  readonly platform: Platform;
  readonly url: string;
  readonly branch: string;
  /** Repository on the node that is used for fetching; default: `source` in the install path. */
  readonly repository: string | undefined;
  readonly narrate: Narrate;
}

/**
 * Builds a commit of a repository on the node and switches to it. Throws INSTALL_FAILED; then the release before
 * stays.
 */
export async function buildFromGit(
  steps: Steps,
  options: BuildOptions,
): Promise<{ release: string; unchanged: boolean }> {
  const { node, place, platform, url, branch, narrate } = options;
  const { installPath, nodePath } = place;
  const repository = options.repository ?? `${installPath}/source`;
  const say = (action: string, human: string) => narrate({ actor: 'queen-rbee', action, target: node, human });
  say('install_clone', `fetching branch ${branch} on ${node}`);
  const commit = await fetchCommit(steps, [installPath, repository, url, branch]);
  const id = `git-${commit.slice(0, 12)}`;
  const installed = await listReleases(steps, place);
  if (installed.releases.includes(id) && (await passesSelfTest(steps, place, id))) {
    const unchanged = installed.current === id;
    if (!unchanged) await activateRelease(steps, place, id);
    return { release: id, unchanged };
  }
  requireSpace(steps, node, installPath, BUILD_BYTES, installed.freeBytes);
  const incoming = `${installPath}/releases/.incoming-${id}`;
  say('install_clone', `checking out ${commit.slice(0, 12)} of ${branch} on ${node}`);
  await checkOut(steps, node, [installPath, repository, commit, incoming]);
  say('install_build', `installing packages on ${node}`);
  await installPackages(steps, place, incoming, { platform, production: false });
  say('install_build', `building ${id} on ${node}`);
  await steps.run('build', asStep(BUILD), [installPath, nodePath, incoming]);
  say('install_build', `checking ${id} on ${node}`);
  await activateRelease(steps, place, id, incoming);
  return { release: id, unchanged: false };
}

async function checkOut(steps: Steps, node: string, args: readonly string[]): Promise<void> {
  try {
    await steps.run('checkout', asStep(EXPORT), args);
  } catch (error) {
    if ((error as { details?: { exit_code?: number } }).details?.exit_code !== 65) throw error;
    throw steps.failed('checkout', ['this repository is not one of rbee: it has no apps/rbee-hive'], 65, {
      suggestion: `name the right one: rbee-keeper setup update-node --name ${node} --git-repo URL`,
    });
  }
}

async function fetchCommit(steps: Steps, args: readonly string[]): Promise<string> {
  const step = 'clone';
  let output: string;
  try {
    output = await steps.run(step, asStep(FETCH), args);
  } catch (error) {
    if ((error as { details?: { exit_code?: number } }).details?.exit_code !== 127) throw error;
    throw steps.failed(step, ['git was not found there, and is needed to fetch the repository'], 127, {
      suggestion: 'install git on the node: sudo apt-get install git (Debian, Ubuntu), xcode-select --install (macOS)',
    });
  }
  const commit = /^[0-9a-f]{40,64}$/m.exec(output)?.[0];
  if (commit === undefined) throw steps.failed(step, ['git did not tell the commit of the branch']);
  return commit;
}
