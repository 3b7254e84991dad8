#!/usr/bin/env bash
# Latency of a well-behaved client's clicks, and the server's memory, under attack: slow clients, handshake floods, unknown codes, …
#
#   loadtest/attack.sh [--rounds 4] [--seconds 3] [--attacks slow,handshake,hello,unknown,reset,crowd] [--no-floor] [--name NAME]
#
# Two cores: one serves, the other attacks and asks. About six minutes. As root the good client is in the real-time class.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3 openssl=openssl
[ -e /usr/include/openssl/ssl.h ] || need libssl-headers=libssl-dev
build_waypost
ulimit -n "$(ulimit -Hn)"
exec python3 "$ROOT/loadtest/attack.py" "$@"
