#!/usr/bin/env bash
# How old the oldest click gets that a power loss would take, with 1, 16 and 32 workers, on a disk whose sync takes 20 ms, Kafka away.
#
#   loadtest/durable.sh [--workers 1,16,32] [--sync-ms 20] [--rate 2000] [--seconds 20] [--rounds 3] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3 strace=strace
build_waypost
exec python3 "$ROOT/loadtest/durable.py" "$@"
