#!/bin/sh
# deploy/demo.sh: shows in two minutes what Waypost promises, with the real program.
#
#   deploy/demo.sh                            clicks go to JSON-lines files; needs no broker, no root, no configuration
#   deploy/demo.sh --kafka 127.0.0.1:9092     clicks go to this Kafka, and the audit runs; use a test cluster, because
#                                             the script creates the topics there with one replica
#
# Variables: WAYPOST is the program to run (default: target/release/waypost, built if it is missing).
# WAYPOST_DEMO_KAFKA is the same as --kafka.
#
# The script works in a temporary directory of its own, takes free ports, stops what it started and removes the directory.
# Every line that begins with "$" is a command that the script runs exactly so. Needs curl.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

kafka=${WAYPOST_DEMO_KAFKA:-}
while [ $# -gt 0 ]; do
  case $1 in
    --kafka) [ $# -gt 1 ] || { echo "demo.sh: --kafka needs HOST:PORT" >&2; exit 64; }; kafka=$2; shift 2 ;;
    -h | --help) sed -n 's/^# \{0,1\}//p' "$0" | sed '/^!/d; /^set -eu/q'; exit 0 ;;
    *) echo "demo.sh: unknown argument $1; see demo.sh --help" >&2; exit 64 ;;
  esac
done
command -v curl >/dev/null || { echo "demo.sh: needs curl" >&2; exit 1; }
if [ -z "${WAYPOST:-}" ]; then
  WAYPOST=$root/target/release/waypost
  [ -x "$WAYPOST" ] || { echo "Building target/release/waypost; the first build takes some minutes."; (cd "$root" && cargo build --release); }
fi
waypost=$(cd "$(dirname "$WAYPOST")" && pwd)/$(basename "$WAYPOST")

work=$(mktemp -d "${TMPDIR:-/tmp}/waypost-demo.XXXXXX")
server= load=
finish() {
  [ -z "$load" ] || kill "$load" 2>/dev/null || true
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
cd "$work"
# Settings of the machine must not change what the demonstration shows.
for name in $(env | sed -n 's/^\(WAYPOST_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done

waypost() { "$waypost" "$@"; }
step() { printf '\n## %s\n' "$*"; }
# Prints the command as it is written, then runs it.
run() { printf '$ %s\n' "$1"; eval "$1"; }
fail() { echo "demo.sh: $*" >&2; echo "--- the server's log ---" >&2; tail -n 20 server.log >&2; exit 1; }
# Waits at most a minute until a command succeeds.
until_ok() {
  tries=0
  until eval "$1" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "waited a minute for: $1"
    sleep 0.1
  done
}
# Prints the command, starts the server in the background, and waits until it is ready.
start() {
  printf '$ waypost serve --links links.jsonl --data-dir data --listen %s --admin %s%s &\n' "$1" "$2" "${kafka:+ --kafka $kafka}"
  : >server.log
  "$waypost" serve --links links.jsonl --data-dir data --listen "$1" --admin "$2" ${kafka:+--kafka "$kafka"} 2>server.log &
  server=$!
  until_ok 'grep -q "\"event\":\"listening\"" server.log || ! kill -0 "$server"'
  kill -0 "$server" 2>/dev/null || fail "the server did not start"
  url=http://$(sed -n 's/.*"listen":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' server.log | head -n 1)
  admin=http://$(sed -n 's/.*"admin":"\(127\.0\.0\.1:[0-9]*\)".*/\1/p' server.log | head -n 1)
  until_ok 'curl -sf "$admin/readyz"'
}
# All delivered clicks, one JSON object a line.
clicks() {
  if [ -n "$kafka" ]; then waypost clicks tail --json -n 100000 --kafka "$kafka"; else waypost clicks tail --json -n 100000 --data-dir data; fi
}
# The sum of a metric over its labels.
waypost_metric() { curl -s "$admin/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'; }
# One value of the click events on standard input, one a line.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
# Where the reading commands find the delivered clicks.
if [ -n "$kafka" ]; then source="--kafka $kafka"; else source='--data-dir data'; fi

step "1. Two live links, created now. Their clicks can earn money: they are not test links"
for code in tea mug; do
  printf '{"code":"%s","url":"https://shop.example.com/view/%s","kind":"product","creator":"c_48213","creator_type":"affiliate","seller":"s_311","product":"%s","plan":"open","rate_bp":1200,"created_at":"%s"}\n' \
    "$code" "$code" "$code" "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
done >links.jsonl
run 'cat links.jsonl'

if [ -n "$kafka" ]; then
  step "Topics, with one replica: this is a demonstration"
  run "waypost kafka setup --kafka $kafka --replication 1 --apply"
fi

step "2. Start. Port 0 takes a free port"
start 127.0.0.1:0 127.0.0.1:0
run 'curl -s "$admin/readyz"'

step "3. A buyer taps the link on a phone, in Instagram's browser"
run "phone='Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5_1; en_US; en; scale=3.00; 1170x2532; 607520423)'"
run 'curl -si -A "$phone" -H "Accept-Language: en-US" "$url/tea" | tee answer'

step "4. The phone taps a second time within ten seconds, and sends the cookie of the first answer"
cookie=$(sed -n 's/^[Ss]et-[Cc]ookie: \([^;]*\);.*/\1/p' answer)
run 'curl -s -o second -w "%{http_code}\n" -A "$phone" -H "Accept-Language: en-US" -H "Cookie: $cookie" "$url/tea"'

step "5. Both clicks are delivered. The first one counts, the second one does not, and the event says why"
until_ok '[ "$(clicks | grep -c "\"code\":\"tea\"")" -ge 2 ]'
run "waypost clicks tail $source"
run "waypost clicks tail --json $source | grep -o '\"countable\":[^}]*\"countable_reason\":\"[a-z_]*\"'"
click_id=$(clicks | grep '"countable":true' | field click_id | head -n 1)

step "6. kill -9 while clicks come in. curl notes each answer that it has read"
run 'curl -s --fail-early -o answers -w "%{http_code}\n" -A "$phone" -H "Accept-Language: en-US" "$url/mug?tap=[1-90000]" >statuses &'
load=$!
until_ok '[ "$(waypost_metric waypost_clicks_journaled_total)" -gt 500 ]'
run 'kill -9 "$server"'
wait "$server" 2>/dev/null || true
server=
wait "$load" 2>/dev/null || true
load=
run 'grep -c 302 statuses'

step "7. Start again on the same directory. The journal gives back what was not delivered"
start "${url#http://}" "${admin#http://}"
answered=$(grep -c 302 statuses)
until_ok '[ "$(clicks | grep "\"code\":\"mug\"" | field click_id | sort -u | wc -l)" -ge "$answered" ]'
delivered=$(clicks | grep '"code":"mug"' | field click_id | sort -u | wc -l)
echo "answered with 302: $answered; delivered: $((delivered)); no answered click is lost"

step "8. One click's report"
run "waypost clicks why $click_id --data-dir data${kafka:+ --kafka $kafka}"

step "9. Totals. The load came from one phone, so it is many taps and no money"
run "waypost clicks stats $source"

step "10. Proof from the topics alone that no click is missing"
if [ -n "$kafka" ]; then
  # A lane states once a second how far it is.
  until_ok "waypost clicks audit --kafka $kafka"
  run "waypost clicks audit --kafka $kafka"
else
  echo "The audit reads Kafka topics. Run: deploy/demo.sh --kafka HOST:PORT"
fi

step "11. Stop"
run 'kill "$server"; wait "$server"'
server=
