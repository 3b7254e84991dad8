#!/usr/bin/env bash
# Time and memory of `waypost attribute` over a month of clicks and orders.
#
#   loadtest/attribute.sh [--clicks 1000000] [--orders 30000] [--rounds 3] [--directory DIR] [--name NAME]
#
# A month of a large programme: --clicks 10000000 --orders 300000. It writes about 15 GB into DIR, which is the directory
# for temporary files unless given.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3
build_waypost
exec python3 "$ROOT/loadtest/attribute.py" "$@"
