#!/bin/bash
# cuda_toolkit.sh [--no-fetch]: prints the path of nvcc. In this order: CUDACXX, the PATH, /usr/local/cuda, the cache
# directory. Where none of them has it, requirements-cuda.txt is fetched into the last; with --no-fetch nothing is printed.
set -euo pipefail
source "$(dirname "$0")/common.sh"

requirements=$(dirname "$0")/requirements-cuda.txt
environment=$CACHE/cuda-venv
own=$(command -v "${CUDACXX:-nvcc}" || command -v /usr/local/cuda/bin/nvcc || true)
if [[ -n $own ]]; then
  echo "$own"
  exit
fi

need_command python3 "apt-get install python3 python3-venv"
wanted=$(python3 --version && sha256sum <"$requirements")
if [[ ! -f $environment/stamp || $(<"$environment/stamp") != "$wanted" ]]; then
  [[ ${1:-} != --no-fetch ]] || exit 0
  HINT="apt-get install python3-venv" step "make the Python environment of the CUDA compiler" \
    python3 -m venv --clear "$environment"
  HINT="check the network and pip's settings, or put an nvcc of CUDA 13 on the PATH" \
    step "install the CUDA compiler, a 105 MB download" \
    "$environment/bin/python" -m pip install --disable-pip-version-check --no-deps --retries 2 -r "$requirements"
  toolkit=$(echo "$environment"/lib/python3*/site-packages/nvidia/cu13)
  ln -s lib "$toolkit/lib64"  # where nvcc looks for libraries, and under which name CMake does
  ln -s libcudart.so.13 "$toolkit/lib/libcudart.so"
  ln -s "$toolkit" "$environment/cuda"
  printf '%s' "$wanted" >"$environment/stamp"
fi
echo "$environment/cuda/bin/nvcc"
