#!/usr/bin/env bash
# Time to load a links file of a million links on the machine's cores, and the memory it takes.
#
#   loadtest/links.sh [--count 1000000] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3
build_waypost
exec python3 "$ROOT/loadtest/links.py" "$@"
