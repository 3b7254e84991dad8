#!/usr/bin/env bash
# Instructions of each step of a click, in the worker and in the delivery, counted by valgrind: the same figure twice in
# a row, on any machine that has the same processor features. Installs the runner at the version that Cargo.lock has.
#
#   benches/run.sh          prints the counts
#   benches/run.sh check    compares them with benches/baseline.txt; a step that moved by more than 1 % fails
#   benches/run.sh move     writes them to benches/baseline.txt
#
# valgrind knows none of the newest instructions, so SHA-256 is counted in its portable form, which no machine of today
# runs: the counts leave it out.
set -euo pipefail
cd "$(dirname "$0")/.."
command="${1:-print}"
case "$command" in print | check | move) ;; *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64 ;; esac
if ! command -v valgrind >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo 'install valgrind first' >&2; exit 1; }
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind libc6-dbg >&2
fi
version=$(awk '/^name = "gungraun"$/ { getline; gsub(/"/, ""); print $3 }' Cargo.lock)
if [ "$(gungraun-runner --version 2>/dev/null | awk '{ print $NF }')" != "$version" ]; then
    cargo install gungraun-runner --locked --version "$version" >&2
fi
cargo bench --locked --profile dev --config benches/profile.toml --bench click --bench delivery >&2

counts="${CARGO_TARGET_DIR:-target}/instructions.txt"
{
    echo "# $(rustc --version)"
    for bench in click:parse,links,mint,encode,answer,append delivery:read,label,duplicate,event,hand_over,journal_to_event; do
        for group in $(tr ',' ' ' <<<"${bench#*:}"); do
            for file in "${CARGO_TARGET_DIR:-target}/gungraun/waypost/${bench%%:*}/$group"/*/callgrind.*.out; do
                # A line is "position count …"; the one behind "calls=" is the callee's, counted where it is spent.
                awk -v step="$group/$(basename "$(dirname "$file")")" '
                    /^fn=/ { hash = /sha2::/ }
                    /^calls=/ { skip = 1; next }
                    /^[-+*0-9]/ { if (skip) skip = 0; else if (!hash) count += $2 }
                    END { printf "%-44s %9d\n", step, count }' "$file"
            done
        done
    done
} >"$counts"
case "$command" in
print) cat "$counts" ;;
check) benches/compare.sh benches/baseline.txt "$counts" ;;
move)
    {
        echo '# Instructions of each step without SHA-256: benches/run.sh move writes this file, benches/run.sh check reads it.'
        cat "$counts"
    } >benches/baseline.txt
    ;;
esac
