#!/bin/bash
# Tests everything that needs a GPU, on a machine that has one and to which the built programs were copied:
#
#     tests/gpu/run.sh BINARIES [--model FILE.gguf --text FILE] [--only PART,PART] [--device cuda:N] [--gib 6]
#
# BINARIES holds the programs of build/ that are named below, and in lib/, if need be, the libraries they are linked to.
# One line for each part says PASS, FAIL or SKIP, and the seconds; logs lie in $LOGS, by default a new folder. The exit
# status is 1 if a part failed. python3 needs numpy, torch, transformers and pytest; without --model and --text there are
# no real weights; with the Python package gguf, GGUF files of the tiny models are compared, too.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
die() { echo "run.sh: $*" >&2; exit 2; }

[[ $# -ge 1 && $1 != -* ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
[[ -d $1 ]] || die "there is no folder $1"
binaries=$(cd "$1" && pwd); shift
model='' text='' only='' device=cuda gib=6
while [[ $# -gt 0 ]]; do
  [[ $# -ge 2 ]] || die "$1 needs a value"
  case $1 in
    --model) model=$2 ;;
    --text) text=$2 ;;
    --only) only=,$2, ;;
    --device) device=$2 ;;
    --gib) gib=$2 ;;
    *) die "there is no option $1" ;;
  esac
  shift 2
done
[[ -z $model && -z $text ]] || [[ -f $model && -f $text ]] || die "--model and --text belong together and must exist"

# cuBLASLt: the system's, or torch's. Python itself keeps its own libraries.
torch_libraries=$(python3 - <<'PYTHON' 2>/dev/null
import importlib.util, pathlib
spec = importlib.util.find_spec("nvidia")
found = [p.parent for base in (spec.submodule_search_locations if spec else []) for p in pathlib.Path(base).rglob("libcublasLt.so.13")]
print(found[0] if found else "")
PYTHON
)
export HOPSKIP_LIBRARY_PATH=$binaries/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}${torch_libraries:+:$torch_libraries}
logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"
failed=0

# part NAME SECONDS COMMAND...: what was skipped for want of a GPU was not tested.
part() {
  local name=$1 limit=$2 start=$EPOCHREALTIME code verdict
  shift 2
  [[ -z $only || $only == *,$name,* ]] || return 0
  timeout --kill-after=10 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null
  code=$?
  verdict=PASS
  if [[ $code -eq 124 || $code -eq 137 ]]; then
    verdict="FAIL (more than $limit s)"
  elif [[ $code -ne 0 ]]; then
    verdict="FAIL (exit status $code)"
  elif grep -qE '^no GPU|^\[  PASSED  \] 0 tests' "$logs/$name.log"; then
    verdict="FAIL (tests found no GPU)"
  fi
  [[ $verdict == PASS ]] || failed=1
  printf '%-10s %7.1f s  %s\n' "$name" "$(awk "BEGIN { print $EPOCHREALTIME - $start }")" "$verdict"
  # What was measured, or what went wrong.
  if [[ $verdict == PASS ]]; then
    grep -E '^  |^(dense|sparse|first|second|checkpoint)|[0-9]+ passed' "$logs/$name.log" | head -n 40
  else
    grep -vE '^\[ +(OK|RUN) ' "$logs/$name.log" | tail -n 40
  fi
}
skip() { [[ -n $only && $only != *,$1,* ]] || printf '%-10s %9s  SKIP (%s)\n' "$1" '' "$2"; }

own() { LD_LIBRARY_PATH=$HOPSKIP_LIBRARY_PATH exec "$@"; }
export -f own
run() { local name=$1 limit=$2 program=$3; shift 3; part "$name" "$limit" bash -c 'own "$@"' own "$binaries/$program" "$@"; }

if [[ $device == cuda* ]]; then
  run info 60 hopskip info --device "$device"
  run attention 300 parity_cuda
  run ops 300 parity_cuda_ops
  run backend 300 parity_cuda_backend
else
  for name in attention ops backend; do skip "$name" "not for the device $device"; done
fi
run schedules 300 property_engine --gtest_filter="*Schedules*/${device%%:*}"
part logits 600 python3 -m pytest -q -p no:cacheprovider -rP "$root/tests/e2e/models" -k tiny \
  --device "$device" --binaries "$binaries"
if [[ -n $model ]]; then
  # About half of the tiles are skipped at these factors, of SmolLM2 on prose.
  run real 600 backend_agreement "$model" "$text" --second "$device" --prefill-factor 6.4 --decode-factor 0.14 --match
else
  skip real "no --model and --text"
fi
limited=VmRSS
[[ $device == cuda* ]] || limited=RssAnon # the CPU computes from the file's own pages
part loading 300 python3 "$here/loading.py" "$binaries" --device "$device" --gib "$gib" --limited "$limited"
echo "logs: $logs"
exit "$failed"
