#!/usr/bin/env bash
# Time to load a links file of a million links on the machine's cores, and the memory it takes.
#
#   loadtest/links.sh [--count 1000000] [--name NAME]
#
# Time to check a table of a million links with `waypost links import`, and the memory it takes.
#
#   loadtest/links.sh import [--count 1000000] [--rounds 5] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3
build_waypost
script=links
if [ "${1:-}" = import ]; then
    script=links_import
    shift
fi
exec python3 "$ROOT/loadtest/$script.py" "$@"
