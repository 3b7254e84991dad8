#!/bin/sh
# deploy/flink/run.sh: the whole way of a commission on this machine, with real programs: Kafka and Flink from their jars,
# `waypost serve`, buyers who tap its links, orders with the tokens that they were given, and commissions as they change.
#
#   deploy/flink/run.sh                  buyers, orders, deliveries and returns, then a buyer every few seconds until Ctrl-C
#   deploy/flink/run.sh --once           ends before the last part; exit 0 if every row is as it must be
#   deploy/flink/run.sh --buyers 20      buyers of the first part (default 8)
#
# Needs Java 17, javac, Maven and curl. Variables: WAYPOST_BIN is the program to run (default: target/release/waypost, built if it
# is missing). FLINK_HOME_DIR keeps jars and classes (default: target/flink). Works in a temporary directory of its own on
# free ports of 127.0.0.1, stops what it started and removes the directory.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

rounds=repeat buyers=8
while [ $# -gt 0 ]; do
  case $1 in
    --once) rounds=once; shift ;;
    --buyers) [ $# -gt 1 ] || { echo "run.sh: --buyers needs a number" >&2; exit 64; }; buyers=$2; shift 2 ;;
    -h | --help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument $1; see run.sh --help" >&2; exit 64 ;;
  esac
done
for program in java javac mvn curl; do
  command -v "$program" >/dev/null || { echo "run.sh: needs $program" >&2; exit 1; }
done
if [ -z "${WAYPOST_BIN:-}" ]; then
  WAYPOST_BIN=$root/target/release/waypost
  [ -x "$WAYPOST_BIN" ] || { echo "Building target/release/waypost; the first build takes some minutes."; (cd "$root" && cargo build --release --locked); }
fi
waypost=$(cd "$(dirname "$WAYPOST_BIN")" && pwd)/$(basename "$WAYPOST_BIN")
jars=${FLINK_HOME_DIR:-$root/target/flink}
# Settings of this machine must not change what the demonstration shows.
for name in $(env | sed -n 's/^\(WAYPOST_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done

work=$(mktemp -d "${TMPDIR:-/tmp}/waypost-flink.XXXXXX")
pids=
finish() {
  trap '' INT TERM
  # What was started last ends first: Flink writes its savepoints before Kafka goes.
  for pid in $pids; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
fail() { echo "run.sh: $1" >&2; for log in "$work"/*.log; do echo "--- $log" >&2; tail -n 20 "$log" >&2; done; exit 1; }
step() { printf '\n## %s\n' "$*"; }
# Waits at most a minute until a command succeeds, or a process is gone.
until_ok() {
  tries=0
  until eval "$2" >/dev/null 2>&1; do
    tries=$((tries + 1))
    kill -0 "$1" 2>/dev/null || fail "a process ended early, while waiting for: $2"
    [ "$tries" -lt 900 ] || fail "waited too long for: $2"
    sleep 0.1
  done
}
# A program of its own process group: Ctrl-C ends it by finish(), in the right order.
start() { log=$1; shift; setsid "$@" >"$work/$log" 2>&1 & pids="$! $pids"; }
flags='-XX:+UseSerialGC -XX:TieredStopAtLevel=1'

step "Jars of Kafka and Flink, fetched once into $jars"
"$here/build.sh" "$jars"
if ! cmp -s "$root/tests/it/kafka/pom.xml" "$jars/kafka/pom.xml"; then
  mvn -B -q -f "$root/tests/it/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars/kafka/libs"
  cp "$root/tests/it/kafka/pom.xml" "$jars/kafka/pom.xml"
fi
cat >"$work/Ports.java" <<'JAVA'
class Ports {
  public static void main(String[] args) throws Exception {
    var loopback = java.net.InetAddress.getLoopbackAddress();
    try (var one = new java.net.ServerSocket(0, 1, loopback); var two = new java.net.ServerSocket(0, 1, loopback)) {
      System.out.println(one.getLocalPort() + " " + two.getLocalPort());
    }
  }
}
JAVA
ports=$(java "$work/Ports.java")
kafka=127.0.0.1:${ports% *} controller=127.0.0.1:${ports#* }

step "Kafka on $kafka"
cat >"$work/kafka.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
listeners=PLAINTEXT://$kafka,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://$kafka
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$work/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
PROPERTIES
broker="java -Xmx256m $flags -Dlog4j2.configurationFile=$here/log4j2.properties -cp $jars/kafka/libs/*"
set -f
$broker kafka.tools.StorageTool format --cluster-id waypost -c "$work/kafka.properties" >"$work/format.log" 2>&1 || fail "the broker's directory cannot be formatted"
start kafka.log $broker kafka.Kafka "$work/kafka.properties"
until_ok "${pids%% *}" "\"$waypost\" kafka setup --kafka $kafka --replication 1 --partitions 2 --apply"
flink="java -Xmx768m $flags -Dlog4j2.configurationFile=$here/log4j2.properties -cp $jars/classes:$jars/libs/*"
settings="KAFKA=$kafka STATE_DIR=$work/state CHECKPOINT_INTERVAL=1\ s TICK_MS=3600000"
eval "$flink waypost.flink.Topics $here 2 1 $settings"

step "waypost serve: two creators share the tea, a third one has a showcase with the mug"
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
shop='"url":"https://shop.example.com/view"'
cat >"$work/links.jsonl" <<LINKS
{"code":"tea",$shop,"kind":"product","creator":"c_an","creator_type":"affiliate","seller":"s_311","product":"p_tea","plan":"open","rate_bp":1200,"created_at":"$now"}
{"code":"tea2",$shop,"kind":"product","creator":"c_binh","creator_type":"affiliate","seller":"s_311","product":"p_tea","plan":"targeted","partner":"tap_7","rate_bp":1500,"created_at":"$now"}
{"code":"mugs",$shop,"kind":"showcase","creator":"c_chi","creator_type":"affiliate","product_set":"set_chi","created_at":"$now"}
LINKS
cat "$work/links.jsonl"
start waypost.log "$waypost" serve --links "$work/links.jsonl" --data-dir "$work/data" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --kafka "$kafka"
until_ok "${pids%% *}" 'grep -q "\"event\":\"listening\"" "$work/waypost.log"'
admin=http://$(sed -n 's/.*"admin":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' "$work/waypost.log" | head -n 1)
server=http://$(sed -n 's/.*"listen":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' "$work/waypost.log" | head -n 1)
until_ok "${pids%% *}" 'curl -sf "$admin/readyz"'

step "Flink: the jobs winners, commissions and statistics"
eval "start flink.log $flink waypost.flink.RunSql $here run winners commissions statistics $settings"
job=${pids%% *}
until_ok "$job" '[ "$(grep -c "^flink: .*: running" "$work/flink.log")" = 3 ]'
grep '^flink: ' "$work/flink.log"

eval "$flink waypost.flink.Demonstration $here $server $waypost $work/data $buyers $rounds $settings" || fail "the demonstration failed"
