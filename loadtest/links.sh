#!/usr/bin/env bash
# Time to load a links file of a million links on the machine's cores, and the memory it takes.
#
#   loadtest/links.sh [--count 1000000] [--name NAME]
#
# Time to check a table of a million links with `waypost links import`, and the memory it takes.
#
#   loadtest/links.sh import [--count 1000000] [--rounds 5] [--name NAME]
#
# Links kept in the catalog: seconds until a server on it is ready and bytes a link (load); upserts of many links while clicks come,
# against clicks alone (bulk); single creates, each on the disk before its answer, beside what a sync costs on this machine (write).
#
#   loadtest/links.sh load|bulk|write [COUNT] [--rounds 3] [--rows 300000] [--rate 2000] [--writes 400] [--name NAME]
#
# Three edges on one topic of links, with a real Kafka (Java and Maven): how soon a change is served by the last edge, also during a bulk.
#
#   loadtest/links.sh fleet [--changes 200] [--rows 100000] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3
build_waypost
script=links
case "${1:-}" in
import) script=links_import && shift ;;
load | bulk | write) script=links_store ;;
fleet) script=links_fleet && shift ;;
esac
exec python3 "$ROOT/loadtest/$script.py" "$@"
