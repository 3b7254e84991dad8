#!/usr/bin/env bash
# Latency of a click at 25, 50 and 75 % of what a server takes at most, Waypost beside nginx doing the same job; an open loop.
#
#   loadtest/latency.sh [--rounds 5] [--seconds 4] [--name NAME]
#
# One core serves, the other generates: a machine with two cores and nothing else to do. What is measured: latency.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need nginx=nginx-light wrk=wrk gcc=gcc python3=python3 taskset=util-linux
build_waypost
exec python3 "$ROOT/loadtest/latency.py" "$@"
