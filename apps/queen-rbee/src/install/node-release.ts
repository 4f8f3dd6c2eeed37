import { asStep } from './install-lock.js';
import type { Steps } from './install-step.js';

/** Where an installation is made, and with what. */
export interface NodePlace {
  readonly installPath: string;
  /** Absolute path of Node.js on the node. */
  readonly nodePath: string;
}

/** What stands in an install path. */
export interface InstalledReleases {
  readonly current: string | undefined;
  readonly releases: readonly string[];
  /** Free space, in bytes; `undefined` when the node does not tell. */
  readonly freeBytes: number | undefined;
}

/** Puts Node.js and the programs that came with it in front of the PATH. */
const NODE_FIRST = 'PATH=$(dirname "$2"):$PATH; export PATH';

const LIST = String.raw`
printf 'current\t%s\n' "$(readlink "$1/current" 2>/dev/null)"
for folder in "$1"/releases/*; do
  if [ -f "$folder/apps/rbee-hive/bin/rbee-hive.js" ]; then printf 'release\t%s\n' "$(basename "$folder")"; fi
done
printf 'disk\t%s\n' "$(df -Pk "$1" | tail -n 1)"
`;

/** Release ($3) that the launcher of an install path tests. */
const SELF_TEST = `${NODE_FIRST}
"$2" "$1/releases/$3/apps/rbee-hive/bin/rbee-hive.js" self-test
`;

/** Puts a finished folder in the place of its release ($3), where there is one ($4), and switches to it. */
const ACTIVATE = String.raw`
${NODE_FIRST}
target=$1/releases/$3
lock=$1/.installing
if [ -n "$4" ]; then
  printf '%s\n' "$3" >"$lock/pending" || exit 1
  if [ -d "$target" ]; then mv -- "$target" "$1/releases/.broken-$3" || exit 1; fi
  mv -- "$4" "$target" || exit 1
  # After a power cut the link could be on the disk, and what it leads to not.
  sync
fi
"$2" "$target/apps/rbee-hive/bin/rbee-hive.js" release activate --root "$1" --release "$3" || exit
case $(readlink "$1/current") in
  */"$3") ;;
  *) echo "error: the program of $3 ended well and did nothing: its files are damaged" >&2; exit 1 ;;
esac
rm -f -- "$lock/pending" "$lock/source"
rm -rf -- "$1/releases/.broken-$3"
`;

const SERVICE = `${NODE_FIRST}
"$2" "$1/current/apps/rbee-hive/bin/rbee-hive.js" service install --port "$3" --node "$2" --root "$1"
`;

/** Reads what is installed, and how much space there is. */
export async function listReleases(steps: Steps, { installPath }: NodePlace): Promise<InstalledReleases> {
  const output = await steps.run('look', asStep(LIST), [installPath]);
  const lines = output.split('\n').map((line) => line.split('\t'));
  const current = lines.find(([kind]) => kind === 'current')?.[1]?.replace(/^releases\//, '');
  const disk = lines.find(([kind]) => kind === 'disk')?.[1] ?? '';
  const kilobytes = /\s\d+\s+\d+\s+(\d+)\s+\d+%/.exec(disk)?.[1];
  return {
    current: current || undefined,
    releases: lines.filter(([kind]) => kind === 'release').map(([, name = '']) => name),
    freeBytes: kilobytes === undefined ? undefined : Number(kilobytes) * 1024,
  };
}

/** Whether a release that is there can run. A program whose file is empty says nothing, and ends well. */
export async function passesSelfTest(steps: Steps, place: NodePlace, id: string): Promise<boolean> {
  try {
    const output = await steps.run('self-test', asStep(SELF_TEST), [place.installPath, place.nodePath, id]);
    return /^\{"ok":true\b/m.test(output);
  } catch (error) {
    if ((error as { code?: string }).code === 'INSTALL_FAILED') return false;
    throw error;
  }
}

/**
 * Makes a release the one that is used: the one that is in its place, or a finished folder that is moved there. Throws
 * INSTALL_FAILED with the checks that failed; then the release before is still the current one.
 */
export async function activateRelease(steps: Steps, place: NodePlace, id: string, incoming?: string): Promise<void> {
  await steps.run('activate', asStep(ACTIVATE), [place.installPath, place.nodePath, id, incoming ?? '']);
}

/** Lets the node's service manager start the hive with the machine. */
export async function installService(steps: Steps, place: NodePlace, port: number): Promise<void> {
  await steps.run('service', asStep(SERVICE), [place.installPath, place.nodePath, String(port)]);
}
