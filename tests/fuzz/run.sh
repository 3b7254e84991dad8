#!/bin/sh
# tests/fuzz/run.sh MINUTES [TARGET…]: each target that long, one after the other, on one core. Needs g++ beside what Waypost's
# build needs; libFuzzer comes with a crate, and the flags below are cargo-fuzz's, which the pinned stable toolchain takes. Who has two
# cores starts it twice, with other targets. What each run did is kept as loadtest/results/fuzz.txt.
#
# Begins with tests/fuzz/corpus/TARGET, which `cargo test` runs too (src/fuzzing.rs). What it finds new goes to target/corpus, and
# what makes it fail to target/artifacts: fix it, and put that file into corpus/TARGET under a name that says what it is.
#
# tests/fuzz/run.sh merge [TARGET…]: takes into corpus/TARGET what of target/corpus reaches code that nothing there reaches: of the few
# files that do, of at most 1 KiB each, the 32 longest. The tree stays small; the rest is found again.
set -eu
minutes=${1:?usage: tests/fuzz/run.sh MINUTES|merge [TARGET…]}
shift
# To libFuzzer no time at all would be time without end.
[ "$minutes" = merge ] || [ "$minutes" -ge 1 ]
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' Cargo.toml)

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target the flags are for the program alone and not for build scripts, which have no coverage runtime to link.
host=$(rustc -vV | sed -n 's/^host: //p')
for target; do set -- "$@" --bin "$target"; shift; done
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
RUSTFLAGS="$coverage --cfg fuzzing" cargo build --locked --release --target "$host" --target-dir target "$@"

# What a target's log says of its run, as a row of the table.
row() {
  awk -v target="$1" -v commit="$commit" '
    /PC tables/ { for (at = 1; at < NF; at++) if ($(at + 1) == "PCs):") edges = substr($at, 2) }
    / cov: / { for (at = 1; at < NF; at++) { if ($at == "cov:") reached = $(at + 1); if ($at == "corp:") split($(at + 1), corpus, "/") } }
    /^stat::/ { stat[$1] = $2 }
    /^Done/ { seconds = $5 }
    END {
      printf "%-15s %7s %12d %8d %8d %8d %8d %8d %6d  %s\n", target, seconds ? seconds : "FAILED", stat["stat::number_of_executed_units:"],
        stat["stat::average_exec_per_sec:"], reached, edges, corpus[1], stat["stat::new_units_added:"], stat["stat::peak_rss_mb:"], commit
    }' "target/$1.log"
}

failed=
while [ $# -gt 0 ]; do
  target=$2
  shift 2
  mkdir -p "target/corpus/$target" "target/artifacts/$target" target/rows
  program="target/$host/release/$target"
  if [ "$minutes" = merge ]; then
    # Counters aside: a loop that runs once more is nothing new.
    "$program" -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=1024 -rss_limit_mb=1024 "corpus/$target" "target/corpus/$target" \
      >"target/$target.merge.log" 2>&1 || failed="$failed $target"
    # What libFuzzer writes is named by its hash; what has a name of its own stays.
    ls -S "corpus/$target" | grep -Ex '[0-9a-f]{40}' | tail -n +33 | while read -r seed; do rm "corpus/$target/$seed"; done
    printf '%-16s %s files, %s bytes\n' "$target" "$(ls "corpus/$target" | wc -l)" "$(cat "corpus/$target"/* | wc -c)"
    continue
  fi
  "$program" "target/corpus/$target" "corpus/$target" -max_total_time=$((minutes * 60)) -max_len=16384 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="target/artifacts/$target/" \
    >"target/$target.log" 2>&1 || failed="$failed $target"
  printf '%-16s %s\n' "$target" "$(grep -E '^(Done|SUMMARY|==.*ERROR)|panicked' "target/$target.log" | tail -2 | tr '\n' ' ')"
  row "$target" >"target/rows/$target"
  {
    printf '%-15s %7s %12s %8s %8s %8s %8s %8s %6s  %s\n' target seconds runs runs/s reached edges corpus new MiB commit
    cat target/rows/*
    echo 'reached, edges: of the coverage counters in the program, dependencies included. new: inputs found in this run.'
  } >../../loadtest/results/fuzz.txt
done
[ -z "$failed" ] || { echo "failed:$failed (see tests/fuzz/target/TARGET.log)" >&2; exit 1; }
