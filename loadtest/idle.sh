#!/usr/bin/env bash
# Memory held by 10 000 idle, 1 000 half-sent and 2 000 idle TLS connections, as resident bytes of the process; and the CPU
# time of a process that nobody asks for anything.
#
#   loadtest/idle.sh [--idle 10000] [--half-sent 1000] [--idle-tls 2000] [--seconds 10] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 openssl=openssl
build_waypost
# Both ends are on this machine: each connection takes a descriptor here and one there.
ulimit -n "$(ulimit -Hn)"
exec python3 "$ROOT/loadtest/idle.py" "$@"
