#!/bin/bash
# Makes the Python environment of the tests in the cache directory and prints its interpreter's path. It is made
# again only when requirements-test.txt or the interpreter changes: torch's wheel brings CUDA libraries, 3 GB.
set -euo pipefail
source "$(dirname "$0")/common.sh"

requirements=$(dirname "$0")/requirements-test.txt
environment=$CACHE/test-venv
need_command python3 "apt-get install python3 python3-venv"
wanted=$(python3 --version && sha256sum <"$requirements")
if [[ ! -f $environment/stamp || $(<"$environment/stamp") != "$wanted" ]]; then
  HINT="apt-get install python3-venv" step "make the Python environment of the tests" \
    python3 -m venv --clear "$environment"
  HINT="check the network, pip's settings and the free space in $CACHE (8 GB)" \
    step "install the Python packages of the tests, a 3 GB download" \
    "$environment/bin/python" -m pip install --disable-pip-version-check --retries 2 -r "$requirements"
  printf '%s' "$wanted" >"$environment/stamp"
fi
echo "$environment/bin/python"
