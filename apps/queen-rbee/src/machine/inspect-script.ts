/**
 * Tells what a machine is and which Node.js it has, one fact a line: a name, a tab, and its values with tabs between.
 * Arguments: seconds that one foreign program may take, major and minor of the oldest Node.js that fits, then the
 * candidates, of which one that begins with = is a path without patterns. It looks no further than the first candidate that fits. POSIX sh, and nothing that a bare macOS, Debian
 * or Alpine lacks.
 */
export const INSPECT_SCRIPT = String.raw`
patience=$1 least_major=$2 least_minor=$3
shift 3
tab=$(printf '\t')
newline='
'
export NODE_OPTIONS=

# Runs a program that may hang, with its output in a file: what it leaves behind would keep a pipe open.
bounded() {
  output=$1
  shift
  if command -v setsid >/dev/null 2>&1; then
    setsid "$@" </dev/null >"$output" 2>/dev/null &
    group=-$!
  else
    "$@" </dev/null >"$output" 2>/dev/null &
    group=$!
  fi
  program=$!
  (
    # The signal may come at any moment, also before there is a sleep to end.
    before=$!
    trap '[ "$!" = "$before" ] || kill $!; exit' TERM
    sleep "$patience" &
    wait $!
    kill -9 "$group"
  ) </dev/null >/dev/null 2>&1 &
  watcher=$!
  wait "$program" 2>/dev/null
  status=$?
  kill "$watcher" 2>/dev/null
  wait "$watcher" 2>/dev/null
  return $status
}

# Tells a program; fits=yes where its version is new enough.
tell_node() {
  case $told in *"$newline$1$newline"*) return ;; esac
  told=$told$1$newline
  if [ ! -f "$1" ] || [ ! -x "$1" ]; then return; fi
  bounded "$scratch" "$1" -p '[process.version, process.versions.modules, process.platform, process.arch, process.execPath].join("\t")'
  facts=$(head -n 1 "$scratch")
  printf 'node\t%s\t%s\n' "$1" "$facts"
  version=$(printf '%s' "$facts" | cut -f 1)
  version=\${version#v}
  major=\${version%%.*}
  rest=\${version#*.}
  minor=\${rest%%.*}
  case $major$minor in '' | *[!0-9]*) return ;; esac
  if [ "$major" -gt "$least_major" ] || { [ "$major" -eq "$least_major" ] && [ "$minor" -ge "$least_minor" ]; }; then
    fits=yes
  fi
}

# The first program in the folders of a PATH.
tell_first() {
  set -f
  IFS=:
  for folder in $1; do
    case $folder in /*) ;; *) continue ;; esac
    if [ -f "$folder/node" ] && [ -x "$folder/node" ]; then
      set +f
      tell_node "$folder/node"
      return
    fi
  done
  set +f
}

login_path() {
  case $SHELL in /*) ;; *) return ;; esac
  # Written for any shell; the mark tells its answer from what start-up files print.
  bounded "$scratch" "$SHELL" -l -c 'printenv PATH | sed "s/^/rbee-path:/"'
  sed -n 's/^rbee-path://p' "$scratch" | head -n 1
}

libc() {
  if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then echo glibc; return; fi
  case $(ldd --version 2>&1) in *musl*) echo musl; return ;; *GLIBC* | *GNU*) echo glibc; return ;; esac
  for loader in /lib/ld-musl-*; do if [ -e "$loader" ]; then echo musl; return; fi; done
}

scratch=$(mktemp) || exit
trap 'rm -f "$scratch"' EXIT
# What a start-up file printed before may lack its line end.
printf '\nhome\t%s\n' "$HOME"
printf 'user\t%s\n' "$(id -un)"
printf 'os\t%s\n' "$(uname -s)"
printf 'arch\t%s\n' "$(uname -m)"
printf 'libc\t%s\n' "$(libc)"
printf 'disk\t%s\n' "$(df -Pk "$HOME" | tail -n 1)"
told=$newline
fits=no
for candidate in "$@"; do
  # Without field splitting a pattern may match paths with spaces.
  IFS=
  case $candidate in
    'on PATH') tell_first "$PATH" ;;
    'on login PATH') tell_first "$(login_path)" ;;
    '=~/'*) tell_node "$HOME/\${candidate#'=~/'}" ;;
    '='*) tell_node "\${candidate#=}" ;;
    *)
      case $candidate in '~/'*) candidate=$HOME/\${candidate#'~/'} ;; esac
      for file in $candidate; do tell_node "$file"; done
      ;;
  esac
  if [ $fits = yes ]; then break; fi
done
`.replaceAll('\\$', '$');
