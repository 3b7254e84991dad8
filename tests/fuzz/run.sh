#!/bin/sh
# tests/fuzz/run.sh MINUTES [TARGET…]: each target that long, one after the other, on one core. Needs g++ beside what Waypost's
# build needs; libFuzzer comes with a crate, and the flags below are cargo-fuzz's, which the pinned stable toolchain takes.
#
# Begins with tests/fuzz/corpus/TARGET, which `cargo test` runs too (src/fuzzing.rs). What it finds new goes to target/corpus, and
# what makes it fail to target/artifacts: fix it, and put that file into corpus/TARGET under a name that says what it is.
set -eu
minutes=${1:?usage: tests/fuzz/run.sh MINUTES [TARGET…]}
shift
# To libFuzzer no time at all would be time without end.
[ "$minutes" -ge 1 ]
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- $(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' Cargo.toml)

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target the flags are for the program alone and not for build scripts, which have no coverage runtime to link.
host=$(rustc -vV | sed -n 's/^host: //p')
for target; do set -- "$@" --bin "$target"; shift; done
RUSTFLAGS="$coverage --cfg fuzzing" cargo build --release --target "$host" --target-dir target "$@"

failed=
while [ $# -gt 0 ]; do
  target=$2
  shift 2
  mkdir -p "target/corpus/$target" "target/artifacts/$target"
  "target/$host/release/$target" "target/corpus/$target" "corpus/$target" -max_total_time=$((minutes * 60)) -max_len=16384 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="target/artifacts/$target/" \
    >"target/$target.log" 2>&1 || failed="$failed $target"
  printf '%-16s %s\n' "$target" "$(grep -E '^(Done|SUMMARY|==.*ERROR)|panicked' "target/$target.log" | tail -2 | tr '\n' ' ')"
done
[ -z "$failed" ] || { echo "failed:$failed (see tests/fuzz/target/TARGET.log)" >&2; exit 1; }
