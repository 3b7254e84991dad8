#!/usr/bin/env bash
# Memory while a backlog of gigabytes grows and drains, what catching up costs, and whether new clicks notice.
#
#   loadtest/backlog.sh [--gib 4] [--rate 2000] [--seconds 5] [--no-audit] [--name NAME]
#
# 4 GiB take about as much again twice over on disk: the journal, and the broker's topics.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need wrk=wrk gcc=gcc python3=python3 java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/backlog.py" "$@"
