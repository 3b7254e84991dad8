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
#
# A look-up in the table: by its size, of codes that exist and of others, of one link by two workers, beside writes; with valgrind, to
# count instructions and cache misses.
#
#   loadtest/links.sh lookup [COUNT ...] [--rounds 5] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3
if [ "${1:-}" = lookup ]; then
    shift
    need valgrind=valgrind
    if [ -z "${LOOK_UP_BIN:-}" ]; then
        cargo build --release --locked --manifest-path "$ROOT/Cargo.toml" --example look_up_links >&2
        LOOK_UP_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/look_up_links"
    fi
    export LOOK_UP_BIN
    exec python3 "$ROOT/loadtest/links_lookup.py" "$@"
fi
build_waypost
script=links
case "${1:-}" in
import) script=links_import && shift ;;
load | bulk | write) script=links_store ;;
fleet) script=links_fleet && shift ;;
esac
exec python3 "$ROOT/loadtest/$script.py" "$@"
