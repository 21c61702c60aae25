# Sourced by the scripts in tools/ and bench/: where things are kept, and one way to report a failure.
CACHE=${HOPSKIP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hopskip}
LOGS=$CACHE/logs
MODEL=$CACHE/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$LOGS" || { echo "hopskip: cannot write to $CACHE: set HOPSKIP_CACHE to a folder that you own" >&2; exit 1; }

say() { echo "hopskip: $*" >&2; }
die() { say "$*"; exit 1; }

need_command() {  # need_command NAME WHAT_TO_DO
  command -v "$1" >/dev/null || die "$1 is missing: $2"
}

# step WHAT COMMAND...: runs the command quietly; if it fails, says so in one line and keeps its output.
step() {
  local what=$1 log
  shift
  log=$LOGS/$(tr -c 'a-zA-Z0-9\n' - <<<"$what").log
  say "$what ..."
  "$@" >"$log" 2>&1 </dev/null || die "could not $what${HINT:+: $HINT} (log: $log)"
}
