/**
 * Tells the key of the hive in a line of its own, behind `rbee-key:`; nothing where there is none. An argument that is not
 * empty is the key that is put there first, where there is none.
 */
export const KEY_SCRIPT = String.raw`
folder=$HOME/.rbee/secrets
file=$folder/hive.token
if [ -n "$1" ] && [ ! -e "$file" ]; then
  umask 077
  mkdir -p "$folder" && chmod 700 "$folder" || exit
  temporary=$folder/.hive.token.$$
  trap 'rm -f "$temporary"' EXIT
  printf '%s\n' "$1" >"$temporary" || exit
  # A link is made only where nothing is: of two queens that come at once, the first one's key stays.
  ln "$temporary" "$file" || [ -e "$file" ] || exit
fi
[ ! -e "$file" ] && exit
key=$(cat "$file") || exit
printf '\nrbee-key:%s\n' "$key"
`;

/**
 * Runs "$3" and what follows in the folder "$2" with the node's key, after telling how long the hive's output file is. What
 * it answers is kept under the name "$1" until it was told.
 */
export const LAUNCH_SCRIPT = String.raw`
output=$HOME/.rbee/logs/rbee-hive.out.log
export RBEE_HIVE_TOKEN_FILE="$HOME/.rbee/secrets/hive.token"
printf '\nrbee-output-size:%s\n' "$(cat "$output" 2>/dev/null | wc -c)"
answer=$HOME/.rbee/launch.$1
folder=$2
shift 2
case $folder in '~'*) folder=$HOME\${folder#'~'} ;; esac
# What is on the PATH needs no folder of its own.
cd "$folder" 2>/dev/null || cd || exit
mkdir -p "$HOME/.rbee" || exit
"$@" >"$answer"
code=$?
cat "$answer" && rm -f "$answer"
exit "$code"
`.replaceAll('\\$', '$');

/** Tells what a launch of the name "$1" answered, where nobody was told yet. */
export const ANSWER_SCRIPT = `
answer=$HOME/.rbee/launch.$1
[ -s "$answer" ] && echo && cat "$answer" && rm -f "$answer"
`;

/** Tells `rbee-process:running` where process "$1" runs that started at "$2", in the words of daemon-kit's readStartTime. */
export const RUNNING_SCRIPT = String.raw`
pid=$1 expected=$2
if [ -r /proc/self/stat ]; then
  stat=$(cat "/proc/$pid/stat" 2>/dev/null) || exit
  # The name may hold spaces and brackets: fields are counted behind its last bracket.
  set -- \${stat##*) }
  state=$1
  shift 19
  started=$1
else
  set -- $(LC_ALL=C TZ=UTC ps -o stat=,lstart= -p "$pid")
  [ $# -gt 0 ] || exit
  state=$1
  shift
  started=$*
fi
case $state in Z*) exit ;; esac
[ "$started" = "$expected" ] && printf '\nrbee-process:running\n'
`.replaceAll('\\$', '$');

/** The end of what the hive wrote behind the first "$1" bytes of its output file. */
export const OUTPUT_SCRIPT = String.raw`
printf '\nrbee-output:\n'
tail -c "+$(($1 + 1))" "$HOME/.rbee/logs/rbee-hive.out.log" | tail -n 40
`;
