#!/usr/bin/env bash
# Bytes written to disk for a click, with a healthy Kafka: with the ring on tmpfs (recommended), and with the ring in a file.
#
#   loadtest/disk.sh [--seconds 10] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need wrk=wrk python3=python3 java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/disk.py" "$@"
