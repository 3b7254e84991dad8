#!/usr/bin/env bash
# Memory while a backlog of gigabytes grows and drains, CPU time of the catch-up, and latency of new clicks meanwhile.
#
#   loadtest/backlog.sh [--gib 4] [--of clicks|orphans] [--rate 2000] [--seconds 5] [--no-audit] [--name NAME]
#
# 4 GiB of backlog need about 12 GiB of disk, for the journal and the broker's topics.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need wrk=wrk gcc=gcc python3=python3 java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/backlog.py" "$@"
