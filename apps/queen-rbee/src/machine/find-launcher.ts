import type { Machine } from './machine.js';

export interface LauncherPlace {
  /** May begin with `~/`. */
  readonly installPath: string;
  /** Node.js on the machine; without it only a launcher that is a program of its own can be used. */
  readonly nodePath: string | undefined;
  /** Program that is used in place of the one in `installPath`; may begin with `~/`. */
  readonly binaryPath?: string | undefined;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Arguments: install path, folder of Node.js, program that is used instead; empty where there is none. */
const SCRIPT = String.raw`
home_of() { case $1 in '~/'*) printf '%s' "$HOME/\${1#'~/'}" ;; *) printf '%s' "$1" ;; esac; }
# For a script of Node.js "node" and its path, for another program "program" and its path.
tell() {
  case $1 in *.js) kind=node ;; *) kind=program ;; esac
  case $(head -c 256 "$1" | head -n 1 | tr -d '\000') in '#!'*node*) kind=node ;; esac
  if [ $kind = program ] && [ ! -x "$1" ]; then return; fi
  # What a start-up file printed before may lack its line end.
  printf '\n%s\t%s\n' "$kind" "$1"
  exit
}
if [ -n "$3" ]; then
  program=$(home_of "$3")
  if [ -f "$program" ]; then tell "$program"; fi
  exit
fi
root=$(home_of "$1")
for file in "$root/current/apps/rbee-hive/bin/rbee-hive.js" "$root/apps/rbee-hive/bin/rbee-hive.js"; do
  if [ -f "$file" ]; then tell "$file"; fi
done
program=$(command -v rbee-hive)
case $program in /*) tell "$program" ;; esac
if [ -n "$2" ] && [ -f "$2/rbee-hive" ]; then tell "$2/rbee-hive"; fi
`.replaceAll('\\$', '$');

/**
 * How the hive's program is called on a machine: what stands in front of its own arguments; `undefined` where there is
 * none. It is looked for in the install path, as an installed release and as a plain checkout, then on the PATH and
 * beside Node.js. Throws the errors of the connection.
 */
export async function findLauncher(machine: Machine, place: LauncherPlace): Promise<readonly string[] | undefined> {
  const { installPath, nodePath, binaryPath, timeoutMs, signal } = place;
  const nodeFolder = nodePath?.slice(0, nodePath.lastIndexOf('/')) ?? '';
  const { stdout } = await machine.run(SCRIPT, [installPath, nodeFolder, binaryPath ?? ''], { timeoutMs, signal });
  const [, kind, path] = /^(node|program)\t(\/.*)$/m.exec(stdout) ?? [];
  if (path === undefined) return undefined;
  if (kind === 'program') return [path];
  return nodePath === undefined ? undefined : [nodePath, path];
}
