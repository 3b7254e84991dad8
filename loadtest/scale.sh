#!/usr/bin/env bash
# What a click costs one worker thread when a second one works beside it: whether workers get in each other's way.
#
#   loadtest/scale.sh [--rounds 9] [--seconds 3] [--name NAME]
#
# A machine with two cores and nothing else to do. What is measured: scale.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need wrk=wrk python3=python3
build_waypost
exec python3 "$ROOT/loadtest/scale.py" "$@"
