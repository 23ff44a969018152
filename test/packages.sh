#!/usr/bin/env bash
# Installs the Debian packages that the complete tests drive (test/*/packages.txt)
# if some are missing. Needs root only then. A program that is there by another
# package is not missing: Debian's npm cannot stand beside a Node.js from elsewhere.
# Programs that Debian lets nobody install beside each other (test/*/unpacked.txt)
# are unpacked into a folder of the user's cache, where the tests find them.
set -eu
cd "$(dirname "$0")"
listed() { cat ./*/"$1" 2>/dev/null | grep -v '^#' | sort -u; }

missing=()
for p in $(listed packages.txt); do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || command -v "$p" > /dev/null || missing+=("$p")
done
beside="${XDG_CACHE_HOME:-$HOME/.cache}/posthaste/beside"
packed=()
for p in $(listed unpacked.txt); do
  [ -e "$beside/.$p" ] || packed+=("$p")
done
[ ${#missing[@]} -eq 0 ] && [ ${#packed[@]} -eq 0 ] && exit 0

fresh=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
mine=
trap 'rm -rf "$fresh"; [ -z "$mine" ] || rm -f $policy' EXIT

if [ ${#missing[@]} -gt 0 ]; then
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # No service may be started by its package: the tests run their own.
  if [ ! -e $policy ]; then
    mine=yes
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
  fi
  apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

if [ ${#packed[@]} -gt 0 ]; then
  echo "unpacking into $beside: ${packed[*]}"
  get() { (cd "$fresh" && apt-get -o APT::Sandbox::User=root download -q "${packed[@]}"); }
  get || { apt-get update -q && get; }
  mkdir -p "$beside"
  for p in "${packed[@]}"; do
    dpkg -x "$fresh/${p}"_*.deb "$beside"
    touch "$beside/.$p" # only now is it whole
  done
  libs=$(echo "$beside"/usr/lib "$beside"/usr/lib/*-linux-gnu "$beside"/lib/*-linux-gnu | tr ' ' :)
  for f in "$beside"/usr/sbin/*; do
    ! LD_LIBRARY_PATH="$libs" ldd "$f" 2>/dev/null | grep 'not found' || { echo "$f lacks libraries: add their packages to packages.txt"; exit 1; }
  done
fi
