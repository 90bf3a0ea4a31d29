# SPDX-License-Identifier: MIT
# Sourced by the scripts beside it: need_packages GROUP... installs what is missing of packages.txt, and says so.
# shellcheck shell=bash

need_packages() {
  local dir wanted=() missing=() group package asked root=() status
  dir=$(dirname "${BASH_SOURCE[0]}")
  while read -r group package; do
    for asked in "$@"; do
      if [ "$group" = "$asked" ]; then wanted+=("$package"); fi
    done
  done <"$dir/packages.txt"
  if ! command -v dpkg-query >/dev/null; then
    echo "No dpkg here: this script installs packages on Debian and its relatives. Elsewhere, install what these hold, then" >&2
    echo "run cmake yourself (see README.md): ${wanted[*]}" >&2
    return 1
  fi
  for package in "${wanted[@]}"; do
    # shellcheck disable=SC2016 # dpkg-query's own variables
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    if [ "$status" != installed ]; then missing+=("$package"); fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  echo "Installing Debian packages: ${missing[*]}" >&2
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "That needs root, and sudo is not here. As root: apt-get install ${missing[*]}" >&2
      return 1
    fi
    root=(sudo)
  fi
  # A fresh machine has no lists, an old one lists of versions that are gone: then they are fetched.
  if ! apt_known "${missing[@]}" || ! apt_install "${missing[@]}"; then
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    apt_install "${missing[@]}"
  fi
}

# Uses `root` and its caller's locale; apt's own chatter goes to standard error.
apt_install() {
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

apt_known() {
  [ "$(LC_ALL=C apt-cache policy "$@" 2>/dev/null | grep -c 'Candidate: [^(]')" -eq $# ]
}
