import { asStep } from './install-lock.js';
import type { Steps } from './install-step.js';
import type { NodePlace } from './node-release.js';
import { enginePackage, type Platform } from './platform.js';

/**
 * Starts the package manager that a project names, in its folder ($3), with the arguments from $4 on. Nothing may ask:
 * nobody is there to answer.
 */
const PNPM = `
PATH=$(dirname "$2"):$PATH; CI=1; export PATH CI
cd -- "$3" || exit 1
shift 3
if ! command -v npx >/dev/null 2>&1; then echo 'npx was not found' >&2; exit 127; fi
manager=$(node -p 'require("./package.json").packageManager') || exit 1
case $manager in pnpm@[0-9]*) ;; *) echo "package.json names no pnpm: $manager" >&2; exit 1 ;; esac
exec 2>&1
npx --yes --prefer-offline "\${manager%%+*}" "$@"
`;

/**
 * Adds the engine that was built for this kind of node ($4), where the lock file of the project ($3), which was made
 * on another machine, does not have it.
 */
const ENGINE = String.raw`
PATH=$(dirname "$2"):$PATH; export PATH
cd -- "$3" || exit 1
node_llama=$(cd apps/llm-worker/node_modules/node-llama-cpp && pwd -P) || exit 1
modules=$(dirname "$node_llama")
if [ -d "$modules/$4" ]; then exit 0; fi
version=$(node -p 'require(process.argv[1]).version' "$node_llama/package.json") || exit 1
exec 2>&1
mkdir engine && printf '{"private":true}\n' >engine/package.json || exit 1
(cd engine && npm install --ignore-scripts --no-audit --no-fund --prefer-offline --save-exact "$4@$version") || exit 1
mkdir -p "$(dirname "$modules/$4")" && mv -- "engine/node_modules/$4" "$modules/$4" && rm -rf engine
`;

const NO_NPM =
  'npm comes with Node.js from https://nodejs.org; where it is a package of its own: sudo apt-get install npm, or brew install node';

/** Lets the node install the packages of a project in one of its folders, with the engine for its platform. */
export async function installPackages(
  steps: Steps,
  place: NodePlace,
  folder: string,
  { platform, production }: { readonly platform: Platform; readonly production: boolean },
): Promise<void> {
  const step = 'packages';
  const only = production ? ['--prod', '--filter', 'rbee-hive', '--filter', 'llm-worker'] : [];
  const args = ['install', '--frozen-lockfile', '--prefer-offline', ...only];
  try {
    await steps.run(step, asStep(PNPM), [place.installPath, place.nodePath, folder, ...args]);
  } catch (error) {
    throw explain(steps, step, error);
  }
  const engine = enginePackage(platform);
  if (engine !== undefined) {
    await steps.run('engine', asStep(ENGINE), [place.installPath, place.nodePath, folder, engine]);
  }
}

/** A failed step, with how to get npm where that is what is missing. */
function explain(steps: Steps, step: string, error: unknown): unknown {
  const lines = (error as { details?: { last_output?: string[] } }).details?.last_output;
  if (!lines?.some((line) => line.includes('npx was not found'))) return error;
  return steps.failed(step, ['npm was not found beside Node.js, and is needed to install packages'], 127, {
    suggestion: NO_NPM,
  });
}
