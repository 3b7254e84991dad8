#!/usr/bin/env bash
# What exactly-once costs over at-least-once: CPU and disk bytes a click, and the delay from click to delivery.
#
#   loadtest/delivery.sh [--rounds 5] [--seconds 6] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need wrk=wrk python3=python3 java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/delivery.py" "$@"
