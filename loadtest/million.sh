#!/usr/bin/env bash
# A million random clicks with adversarial times through both implementations of the rule: `waypost attribute`, and the Flink jobs
# over a real Kafka. Ties, borders of days, 14 days and 100 days and a millisecond beside them, clocks ahead, records that arrive at
# the freeze, repeats, stubs; each batch under another policy. Fails with the first rows that differ.
#
#   loadtest/million.sh [--clicks 1000000] [--batches 5] [--seed 1] [--name NAME]
#
# Needs Java 17, Maven, Python 3 with venv, some 6 GB of memory and, on two cores, half an hour.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 java=openjdk-17-jdk-headless mvn=maven
build_waypost
cd "$ROOT/loadtest"
kafka_python million.py "$@"
