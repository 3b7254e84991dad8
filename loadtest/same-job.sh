#!/usr/bin/env bash
# The whole job, click to acknowledged record in Kafka: Waypost beside nginx with rsyslog, HAProxy with rsyslog, a bare
# hyper server and the floor, which do no job beside the answer. Figures on stdout; NAME=... keeps the run and its plot.
#
#   loadtest/same-job.sh [--rounds 9] [--seconds 2] [--links 100000] [--only nginx,waypost] [--name NAME]
#
# One core serves, the other generates (wrk -t1 -c64) and runs one node of Kafka. What is measured: same_job.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need nginx=nginx-light haproxy=haproxy rsyslogd=rsyslog wrk=wrk gcc=gcc python3=python3 taskset=util-linux \
    java=openjdk-17-jre-headless mvn=maven
find /usr/lib -path '*rsyslog/omkafka.so' 2>/dev/null | grep -q . || need omkafka=rsyslog-kafka
build_waypost
if [ -z "${BARE_HYPER_BIN:-}" ]; then
    cargo build --release --locked --manifest-path "$ROOT/Cargo.toml" --example bare_hyper >&2
    BARE_HYPER_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/bare_hyper"
fi
export BARE_HYPER_BIN
exec python3 "$ROOT/loadtest/same_job.py" "$@"
