#!/usr/bin/env bash
# Memory held by 10 000 idle and 1 000 half-sent connections, as resident bytes of the process.
#
#   loadtest/idle.sh [--idle 10000] [--half-sent 1000] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3
build_waypost
# Both ends are on this machine: each connection takes a descriptor here and one there.
ulimit -n "$(ulimit -Hn)"
exec python3 "$ROOT/loadtest/idle.py" "$@"
