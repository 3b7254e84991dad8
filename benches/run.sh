#!/usr/bin/env bash
# Instructions of each step of the hot path, counted by valgrind: the same figure twice in a row, on any machine that has
# the same processor features. Installs the runner at the version that Cargo.lock has. Arguments go to the benches:
#
#   benches/run.sh
#
# valgrind knows none of the newest instructions, so SHA-256 is counted in its portable form, which no machine of today
# runs: the last column leaves it out, and is the one to compare.
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
cargo bench --locked --bench click >&2

counts="${CARGO_TARGET_DIR:-target}/gungraun/waypost/click"
printf '%-34s %12s %18s\n' step instructions 'without SHA-256'
for group in parse links mint encode answer append; do
    for file in "$counts/$group"/*/callgrind.*.out; do
        # A line is "position count …"; the one behind "calls=" is the callee's, counted where it is spent.
        awk -v step="$group $(basename "$(dirname "$file")")" '
            /^fn=/ { hash = /sha2::/ }
            /^calls=/ { skip = 1; next }
            /^[-+*0-9]/ { if (skip) skip = 0; else { all += $2; if (!hash) rest += $2 } }
            END { printf "%-34s %12d %18d\n", step, all, rest }' "$file"
    done
done
