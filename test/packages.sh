#!/usr/bin/env bash
# Installs the Debian packages that the complete tests drive (test/*/packages.txt)
# if some are missing. Needs root only then. A program that is there by another
# package is not missing: Debian's npm cannot stand beside a Node.js from elsewhere.
set -eu
cd "$(dirname "$0")"
missing=()
for p in $(cat ./*/packages.txt 2>/dev/null | grep -v '^#' | sort -u); do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || command -v "$p" > /dev/null || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# No service may be started by its package: the tests run their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
apt-get install -q -y --no-install-recommends "${missing[@]}"
