#!/usr/bin/env bash
# What TCP_DEFER_ACCEPT saves: the worker's CPU of a click on a new plain connection, with it and without it.
#
#   loadtest/defer.sh [--rounds 9] [--seconds 2] [--rate 3000] [--name NAME]
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc python3=python3
[ -e /usr/include/openssl/ssl.h ] || need libssl-headers=libssl-dev
build_waypost
exec python3 "$ROOT/loadtest/defer.py" "$@"
