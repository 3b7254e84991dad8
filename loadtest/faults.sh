#!/usr/bin/env bash
# Latency of a click while the disk is quiet, kept busy by another writer, or full; the ring on tmpfs and in a file.
#
#   loadtest/faults.sh [--rounds 7] [--seconds 4] [--rate 4000] [--together] [--keep-awake] [--name NAME]
#
# The full disk is a loop mount, so only as root; the generator is in the real-time class, where that is allowed.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3 mkfs.ext4=e2fsprogs mount=mount java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/faults.py" "$@"
