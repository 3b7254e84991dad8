#!/usr/bin/env bash
# Repeats `kill -9` under load, with delivery to files and to a real Kafka, and during start, recovery, roll-over, checkpoint and
# drain. The audit of the topics must then prove that no click is missing. Each test prints what it killed, and where.
#
#   loadtest/crash.sh [CYCLES=500]
#
# The same tests as in `cargo test`, which does 20. Needs Java and Maven for Kafka; without them it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
CI=true WAYPOST_CRASH_CYCLES="${1:-500}" cargo test --locked --test it -- --nocapture --test-threads 1 crash::no_kill
