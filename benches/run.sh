#!/usr/bin/env bash
# Instructions of each step of the hot path, counted by valgrind: the same figure twice in a row, on any machine that has
# the same processor features. Installs the runner at the version that Cargo.lock has. Arguments go to the benches:
#
#   benches/run.sh [mint|edge|…]
#
# valgrind knows none of the newest instructions, so hashing is counted in its portable form, several times what it costs.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo 'install valgrind first' >&2; exit 1; }
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind libc6-dbg >&2
fi
version=$(awk '/^name = "gungraun"$/ { getline; gsub(/"/, ""); print $3 }' Cargo.lock)
if [ "$(gungraun-runner --version 2>/dev/null | awk '{ print $NF }')" != "$version" ]; then
    cargo install gungraun-runner --locked --version "$version" >&2
fi
exec cargo bench --locked --bench click -- "$@"
