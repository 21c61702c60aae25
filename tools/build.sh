#!/bin/bash
# build.sh PRESET: configures with that preset of CMakePresets.json where needed, and builds.
# Preset run takes the GPU's kernels along where a GPU is at hand, and keeps a folder that is already configured, for it holds more than it needs.
set -euo pipefail
source "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

preset=$1
CUDACXX=$(tools/cuda_toolkit.sh --no-fetch)
export CUDACXX
options=()
if [[ $preset == run ]] && nvidia-smi -L >/dev/null 2>&1; then
  options=(-DHOPSKIP_CUDA=AUTO)
fi
if [[ $preset != run || ! -f build/build.ninja ]]; then
  step "configure preset $preset" cmake --preset "$preset" "${options[@]}"
fi
cmake --build --preset "$preset" --parallel "$(nproc)" >&2 ||
  die "the build of preset $preset failed: the compiler's message is above"
