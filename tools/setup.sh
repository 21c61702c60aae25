#!/bin/bash
# setup.sh GROUP...: installs the packages of these groups of packages.txt that are missing, with apt-get.
# When none is missing it does nothing, at once and without root.
set -euo pipefail
source "$(dirname "$0")/common.sh"

list=$(dirname "$0")/packages.txt
wanted=$(for group in "$@"; do sed -n "s/^$group //p" "$list"; done)
[[ -n $wanted ]] || die "setup.sh: no such package group: $*"
need_command dpkg-query "hopskip installs its tools on Debian 12; elsewhere install what tools/packages.txt lists"

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' || true)
missing=$(for package in $wanted; do grep -qxF "$package" <<<"$installed" || echo -n "$package "; done)
[[ -n $missing ]] || exit 0

as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || die "these packages are missing, and only root can install them: apt-get install $missing"
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
HINT="check the network and /etc/apt" step "refresh the package lists" "${as_root[@]}" apt-get update
HINT="try 'apt-get install $missing' by hand" step "install ${missing% }" \
  "${as_root[@]}" apt-get install -y --no-install-recommends $missing
