import type { Clock } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';
import { isDiskFull } from './install-step.js';

/** Longer than any installation; its steps have limits of their own. */
const LONGEST_MS = 86_400_000;
const RELEASE_MS = 20_000;
const BUSY = 75;

/**
 * Functions for scripts that take part in an installation. A command over SSH has a session of its own, with
 * everything that it starts, also in other process groups; where the system does not tell sessions, its process group
 * has to do. The identity of a process is this and when it started, so that no other process that gets the same number
 * is ever meant.
 */
const IDENTITY = String.raw`
identity() {
  if [ -r "/proc/$1/stat" ]; then sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 4,20
  else LC_ALL=C TZ=UTC ps -o pgid= -o lstart= -p "$1" 2>/dev/null | tr -s ' ' | sed 's/^ //; s/ $//'; fi
}
# A process that has ended counts as gone, also while nobody has asked for its result.
alive() {
  if [ -r "/proc/$1/stat" ]; then [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c 1)" != Z ]
  else kill -0 "$1" 2>/dev/null; fi
}
# Whether the process ($2) that a lock ($1) names runs: after a restart of the machine another one may have its number.
holds() { alive "$2" && [ "$(identity "$2")" = "$(cat "$1/identity" 2>/dev/null)" ]; }
members() {
  if [ -r /proc/self/stat ]; then
    sed -n 's/^\([0-9]*\) (.*) [^Z] [0-9]* [0-9]* '"$1"' .*/\1/p' /proc/[0-9]*/stat 2>/dev/null
  else ps -A -o pid= -o pgid= | awk -v set="$1" '$2 == set { print $1 }'; fi
}
`;

/**
 * Holds the lock of an install path ("$1") as long as it runs, and cleans up when it ends, however that happens: it
 * also ends when its output goes nowhere, that is when the connection to the queen has broken. While it runs, a folder
 * has
 * pid       its process id
 * identity  its identity
 * step      process id and identity of the step that runs now, whose processes all end with the holder
 * pending   name of the release that is in its place, and not yet known to work
 * source    path of the repository that was made for this installation
 */
const HOLD = `
umask 022
root=$1
lock=$root/.installing
made=
[ -d "$root" ] || made=yes
mkdir -p -- "$root/releases" || exit 1
attempt=0
until mkdir -- "$lock" 2>/dev/null; do
  [ -d "$lock" ] || { mkdir -- "$lock"; exit 1; }
  owner=$(cat "$lock/pid" 2>/dev/null)
  if [ -n "$owner" ]; then
    if holds "$lock" "$owner"; then echo "held $owner"; exit 75; fi
  elif [ -z "$(find "$lock" -prune -mmin +1 2>/dev/null)" ]; then echo held; exit 75
  fi
  attempt=$((attempt + 1))
  [ "$attempt" -lt 4 ] || exit 75
  mv -- "$lock" "$root/.installing-dead.$$" 2>/dev/null
  recover "$root/.installing-dead.$$"
  rm -rf -- "$root/.installing-dead.$$"
done
finish() {
  trap '' HUP INT TERM PIPE
  clean
}
trap 'finish >/dev/null 2>&1' EXIT
trap 'exit 1' HUP INT TERM PIPE
if [ -n "$made" ]; then : >"$lock/made"; fi
identity $$ >"$lock/identity" && echo $$ >"$lock/pid" || exit 1
rm -rf -- "$root"/releases/.incoming-* "$root"/releases/.broken-* "$root"/.installing-dead.*
echo "locked $$"
while echo .; do
  [ "$(cat "$lock/pid" 2>/dev/null)" = $$ ] || exit 1
  sleep 2 >/dev/null 2>&1 &
  wait $!
done
`;

/**
 * Ends the step that a lock names with all that it started, takes back a release that was not activated, and lets go.
 */
const RECOVER = `
end_step() {
  read -r pid set started 2>/dev/null <"$1/step" || return
  # A shell that has gone may have left programs; the number of their session is not given away as long as it has any.
  now=$(identity "$pid")
  if [ -n "$now" ] && [ "$now" != "$set $started" ]; then return; fi
  if [ "$set" = "$(identity $$ | cut -d ' ' -f 1)" ]; then return; fi
  kill -s TERM $(members "$set") || return
  tries=0
  while [ -n "$(members "$set")" ] && [ "$tries" -lt 30 ]; do sleep 0.1 || sleep 1; tries=$((tries + 1)); done
  kill -s KILL $(members "$set") && sleep 1
}
recover() {
  if [ -s "$1/source" ]; then rm -rf -- "$(cat "$1/source")"; fi
  read -r id 2>/dev/null <"$1/pending" || return
  target=$root/releases/$id
  if [ -d "$root/releases/.broken-$id" ]; then
    rm -rf -- "$target"
    mv -- "$root/releases/.broken-$id" "$target"
  elif [ "$(readlink "$root/current")" != "releases/$id" ]; then rm -rf -- "$target"
  fi
}
clean() {
  made=
  if [ -e "$lock/made" ]; then made=yes; fi
  end_step "$lock"
  recover "$lock"
  rm -rf -- "$root"/releases/.incoming-* "$root"/releases/.broken-*
  rm -rf -- "$lock"
  if [ -n "$made" ]; then rmdir -- "$root/releases" "$root"; fi
}
`;

/** Ends the holder ("$2") of a lock and waits until it has cleaned up; does that in its place where it was killed. */
const RELEASE = `
root=$1
lock=$root/.installing
[ "$(cat "$lock/pid" 2>/dev/null)" = "$2" ] || exit 0
if ! holds "$lock" "$2" || ! kill -s TERM "$2" 2>/dev/null; then
  clean >/dev/null 2>&1
  exit 0
fi
tries=0
while [ -d "$lock" ] && [ "$tries" -lt 100 ]; do sleep 0.1 || sleep 1; tries=$((tries + 1)); done
[ ! -d "$lock" ]
`;

/**
 * Makes a script one whose processes end with the installation. Its first argument has to be the install path; it stops
 * at once when the lock is not held any more.
 */
export function asStep(script: string): string {
  return `
umask 022
${IDENTITY}
step_file=$1/.installing/step
echo "$$ $(identity $$)" >"$step_file" || exit 1
trap 'rm -f -- "$step_file"' EXIT
${script}
`;
}

export interface InstallLockOptions {
  readonly node: string;
  readonly machine: Machine;
  readonly clock: Clock;
  readonly installPath: string;
  readonly signal: AbortSignal;
}

/** The lock of a node's install path: one installation at a time, and nothing of a failed one is left. */
export class InstallLock {
  readonly #options: InstallLockOptions;
  readonly #holder: string;
  readonly #held: Promise<unknown>;

  private constructor(options: InstallLockOptions, holder: string, held: Promise<unknown>) {
    this.#options = options;
    this.#holder = holder;
    this.#held = held;
  }

  /** Throws INSTALL_FAILED when another installation holds it or the folder cannot be made. */
  static async take(options: InstallLockOptions): Promise<InstallLock> {
    const { node, machine, installPath, signal } = options;
    const lines: string[] = [];
    let told: (pid: string) => void = () => undefined;
    const locked = new Promise<string>((resolve) => {
      told = resolve;
    });
    const onLine = (line: string) => {
      const pid = /^locked (\d+)$/.exec(line)?.[1];
      if (pid !== undefined) told(pid);
      else if (line !== '.' && lines.length < 20) lines.push(line);
    };
    const start = new AbortController();
    const abort = () => start.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      const script = `${IDENTITY}${RECOVER}${HOLD}`;
      const held = machine.run(script, [installPath], { timeoutMs: LONGEST_MS, signal: start.signal, onLine });
      const first = await Promise.race([locked, held]);
      if (typeof first === 'string')
        return new InstallLock(
          options,
          first,
          held.catch(() => undefined),
        );
      throw first.code === BUSY ? busy(node, installPath, lines) : notWritable(node, installPath, lines);
    } finally {
      // From now on the holder ends by being asked, so that it cleans up.
      signal.removeEventListener('abort', abort);
    }
  }

  /**
   * Lets go, after everything of an unfinished installation was removed. A machine that is out of reach does that
   * itself.
   */
  async release(): Promise<void> {
    const { machine, installPath } = this.#options;
    try {
      const { code } = await machine.run(`${IDENTITY}${RECOVER}${RELEASE}`, [installPath, this.#holder], {
        timeoutMs: RELEASE_MS,
      });
      if (code === 0) await this.#held;
    } catch (error) {
      if (!isRbeeError(error)) throw error;
    }
  }
}

function busy(node: string, installPath: string, lines: readonly string[]): RbeeError {
  const pid = lines.map((line) => /^held (\d+)$/.exec(line)?.[1]).find(Boolean);
  return new RbeeError(
    'INSTALL_FAILED',
    `another installation is under way on ${node}${pid === undefined ? '' : ` (process ${pid} there)`}`,
    {
      details: {
        node,
        step: 'lock',
        last_output: [],
        install_path: installPath,
        ...(pid === undefined ? {} : { pid }),
      },
      suggestion: 'wait until it is done, then try again',
      retryable: true,
    },
  );
}

function notWritable(node: string, installPath: string, lines: readonly string[]): RbeeError {
  // A shell says no more of a full disk than that it could not write.
  const full = lines.some((line) => isDiskFull(line) || /I\/O error|write error/i.test(line));
  if (full) {
    return new RbeeError('INSTALL_FAILED', `installing rbee on ${node} failed (lock): the disk of the node is full`, {
      details: { node, step: 'lock', last_output: lines, install_path: installPath },
      suggestion: `free some space on ${node} (df -h shows how much there is), then try again`,
    });
  }
  return new RbeeError(
    'INSTALL_FAILED',
    `the folder ${installPath} on ${node} cannot be used: ${lines.at(-1) ?? 'no reason given'}`,
    {
      details: { node, step: 'lock', last_output: lines, install_path: installPath },
      suggestion: `give the user write permission there, or choose another folder: rbee-keeper setup update-node --name ${node} --install-path PATH`,
    },
  );
}
