#!/bin/bash
# Measures llama.cpp on this machine's CPU. Root only: it is installed from Debian unstable into a chroot
# inside the cache directory; the mirror is the one this machine's own package sources name.
# Further arguments replace the cases: llama_cpp.sh "-p 512 -n 0" "-p 0 -n 32 -d 8192 -r 1"
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
source "$root/tools/common.sh"

chroot_dir=$CACHE/sid
if [[ ! -x $chroot_dir/usr/bin/llama-bench ]]; then
  [[ $(id -u) == 0 ]] || die "llama_cpp.sh needs root: it makes a chroot in $chroot_dir"
  need_command debootstrap "apt-get install debootstrap"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' | head -1)
  [[ -n $mirror ]] || die "no Debian mirror in this machine's package sources; run 'apt-get update' first"
  rm -rf "$chroot_dir"
  step "make a Debian unstable chroot" debootstrap --variant=minbase sid "$chroot_dir" "$mirror"
  cp /etc/resolv.conf "$chroot_dir/etc/resolv.conf"
  step "refresh its package lists" chroot "$chroot_dir" apt-get update
  step "install llama.cpp there" chroot "$chroot_dir" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends llama.cpp-tools
fi
"$root/tools/fetch_model.sh"
ln -f "$MODEL" "$chroot_dir/tmp/model.gguf"
exec python3 "$root/bench/peers/llama_cpp.py" "$chroot_dir" "$@"
