#!/usr/bin/env bash
# What the producer's linger costs and gains: CPU of a click and the delay until it is acknowledged, at several rates.
#
#   loadtest/linger.sh [--rounds 3] [--seconds 4] [--lingers 1,5,20] [--rates 1000,6000,20000,0] [--name NAME]
#
# Rate 0 is flat out. What is measured: linger.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need gcc=gcc wrk=wrk python3=python3 java=openjdk-17-jre-headless mvn=maven
build_waypost
exec python3 "$ROOT/loadtest/linger.py" "$@"
