#!/usr/bin/env bash
# The commission pipeline (deploy/flink): first that its rows stay right over a savepoint, a kill, repeats, late records and a
# replay, and under every policy of the cases; then records a second of each job, and bytes of state a click and a line.
#
#   loadtest/flink.sh [--clicks 30000] [--orders 3000] [--skip-tests]
#
# Needs Java, Maven and some minutes. The figures are of one JVM with the heap as state, on the cores that it is given.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3
tests=1 arguments=()
for argument; do
    if [ "$argument" = --skip-tests ]; then tests=; else arguments+=("$argument"); fi
done
[ -z "$tests" ] || (cd "$ROOT" && CI=true cargo test --locked --test it -- --ignored --test-threads 1 flink::)
build_waypost
exec python3 "$ROOT/loadtest/flink.py" "${arguments[@]}"
