#!/bin/sh
# tests/fuzz/run.sh MINUTES [TARGET…]: runs each target for that long, one after the other, on one core. Needs g++ beside what Waypost's
# build needs; libFuzzer comes with a crate. The flags below are cargo-fuzz's, and the pinned stable toolchain accepts them. On two
# cores, start the script twice with different targets. The results of each run are written to loadtest/results/fuzz.txt.
#
# A run starts with tests/fuzz/corpus/TARGET, which `cargo test` runs too (src/fuzzing.rs). New inputs go to target/corpus, failing ones
# to target/artifacts: fix the bug, and copy the failing input to corpus/TARGET under a name that describes it.
#
# tests/fuzz/run.sh merge [TARGET…]: copies the inputs of target/corpus that reach new code to corpus/TARGET: inputs of at most 1 KiB, and of
# those the 32 largest. So the repository stays small; a run finds the others again.
set -eu
minutes=${1:?usage: tests/fuzz/run.sh MINUTES|merge [TARGET…]}
shift
# libFuzzer takes 0 as no limit.
[ "$minutes" = merge ] || [ "$minutes" -ge 1 ]
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' Cargo.toml)

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target the flags apply to the program alone. Build scripts cannot link the coverage runtime.
host=$(rustc -vV | sed -n 's/^host: //p')
for target; do set -- "$@" --bin "$target"; shift; done
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
RUSTFLAGS="$coverage --cfg fuzzing" cargo build --locked --release --target "$host" --target-dir target "$@"

# Prints the results in a target's log as a row of the table.
print_result_row() {
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
    # Without counters: one more run of a loop is no new coverage.
    "$program" -merge=1 -set_cover_merge=1 -use_counters=0 -max_len=1024 -rss_limit_mb=1024 "corpus/$target" "target/corpus/$target" \
      >"target/$target.merge.log" 2>&1 || failed="$failed $target"
    # libFuzzer names its files by their hash. Files with other names stay.
    ls -S "corpus/$target" | grep -Ex '[0-9a-f]{40}' | tail -n +33 | while read -r seed; do rm "corpus/$target/$seed"; done
    printf '%-16s %s files, %s bytes\n' "$target" "$(ls "corpus/$target" | wc -l)" "$(cat "corpus/$target"/* | wc -c)"
    continue
  fi
  "$program" "target/corpus/$target" "corpus/$target" -max_total_time=$((minutes * 60)) -max_len=16384 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="target/artifacts/$target/" \
    >"target/$target.log" 2>&1 || failed="$failed $target"
  printf '%-16s %s\n' "$target" "$(grep -E '^(Done|SUMMARY|==.*ERROR)|panicked' "target/$target.log" | tail -2 | tr '\n' ' ')"
  print_result_row "$target" >"target/rows/$target"
  {
    printf '%-15s %7s %12s %8s %8s %8s %8s %8s %6s  %s\n' target seconds runs runs/s reached edges corpus new MiB commit
    cat target/rows/*
    echo 'reached, edges: of the coverage counters in the program, dependencies included. new: inputs found in this run.'
  } >../../loadtest/results/fuzz.txt
done
[ -z "$failed" ] || { echo "failed:$failed (see tests/fuzz/target/TARGET.log)" >&2; exit 1; }
