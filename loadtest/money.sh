#!/usr/bin/env bash
# Money is conserved: buyers tap through three edges and order, while edges, nodes of Kafka and Flink's task managers are killed
# at random. Then the audit proves the clicks, and every commission row is compared: the topic, `waypost attribute`, and a model
# in the load program that watched the buyers. Fails with the first rows that differ.
#
#   loadtest/money.sh [--minutes 10] [--buyers 3] [--pause 2] [--name NAME]      long form: --minutes 60; short form: --minutes 1
#
# Needs Java 17, Maven, Python 3 with venv, and some 5 GB of memory.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 java=openjdk-17-jdk-headless mvn=maven
build_waypost
cd "$ROOT/loadtest"
kafka_python -m money "$@"
