#!/usr/bin/env bash
# Instructions of each step of a click, in the worker and in the delivery, counted by valgrind: the same figure twice in
# a row. Installs the runner at the version that Cargo.lock has. Takes nine minutes of CPU, eight of them for the build.
#
#   benches/run.sh          prints the counts
#   benches/run.sh check    compares them with benches/baseline.txt; a step that moved by more than 1 % fails
#   benches/run.sh move     writes them to benches/baseline.txt
#
# Whoever made the processor does not matter. valgrind shows each program the same one, with AVX2 where the machine has
# it, and by that glibc, memchr and aws-lc choose their code. It knows none of the newest instructions, so SHA-256 is
# counted in its portable form, which no machine of today runs: the counts leave it out. The version of glibc and of the
# C compiler does matter. Where one of them is another than the baseline's, nothing is compared, and that is said: exit 0.
set -euo pipefail
cd "$(dirname "$0")/.."
command="${1:-print}"
case "$command" in print | check | move) ;; *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64 ;; esac
if ! command -v valgrind >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo 'install valgrind first' >&2; exit 1; }
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind libc6-dbg >&2
fi
version=$(awk '/^name = "gungraun"$/ { getline; gsub(/"/, ""); print $3 }' Cargo.lock)
if [ "$(gungraun-runner --version 2>/dev/null | awk '{ print $NF }')" != "$version" ]; then
    # Without optimisation: it only starts valgrind, and builds in a third of the time.
    cargo install --debug gungraun-runner --locked --version "$version" >&2
fi
# Steps that are no more would be counted too.
rm -rf "${CARGO_TARGET_DIR:-target}/gungraun"
# An incremental build inlines less: its counts are up to 7 % higher.
export CARGO_INCREMENTAL=0
# A simulated cache would double the time, and is not counted.
export GUNGRAUN_CALLGRIND_ARGS=--cache-sim=no
bench() { cargo bench --locked --profile dev --config benches/profile.toml "$@" >&2; }
bench --bench click --bench delivery --no-run
# One beside the other: each takes one core. Instructions are counted, not time.
bench --bench click &
click=$!
result=0
bench --bench delivery || result=$?
wait "$click"
[ "$result" = 0 ]

# The level of x86-64 that a program sees under valgrind; on other processors their name.
loader=$(echo /lib64/ld-linux-x86-64.so.*)
level=$(valgrind -q --tool=none "$loader" --help 2>/dev/null | awk '/x86-64-v.*supported/ { print $1; exit }')
counts="${CARGO_TARGET_DIR:-target}/instructions.txt"
{
    echo "# $(rustc --version)"
    echo "# machine: ${level:-$(uname -m)}, glibc $(getconf GNU_LIBC_VERSION | cut -d' ' -f2), $(cc --version | head -1)"
    for bench in click:parse,links,mint,encode,answer,append delivery:read,label,duplicate,event,hand_over,journal_to_event; do
        for group in $(tr ',' ' ' <<<"${bench#*:}"); do
            for directory in "${CARGO_TARGET_DIR:-target}/gungraun/waypost/${bench%%:*}/$group"/*/; do
                # A file for each thread. A line is "position count …"; the one behind "calls=" is the callee's, counted
                # where it is spent.
                awk -v step="$group/$(basename "$directory")" '
                    /^fn=/ { hash = /sha2::/ }
                    /^calls=/ { skip = 1; next }
                    /^[-+*0-9]/ { if (skip) skip = 0; else if (!hash) count += $2 }
                    END { printf "%-44s %9d\n", step, count }' "$directory"callgrind.*.out
            done
        done
    done
} >"$counts"
case "$command" in
print) cat "$counts" ;;
check)
    benches/compare.sh benches/baseline.txt "$counts" || result=$?
    [ "$result" = 4 ] || exit "$result"
    ;;
move)
    {
        echo '# Instructions of each step without SHA-256: benches/run.sh move writes this file, benches/run.sh check reads it.'
        cat "$counts"
    } >benches/baseline.txt
    ;;
esac
