#!/usr/bin/env bash
# The API judged by schemathesis: requests made from deploy/schemas/openapi.json, all default checks, no finding.
#
#   loadtest/schemathesis.sh [SECONDS]     default 300, for each of the two runs
#
# The first run has every operation but those that end the others: freeze and rollback, which the second run has. Both
# use a fresh data directory. Installed by the first run into a venv below TMPDIR; needs python3 and network access.
# Exceptions stand, each with its reason, in loadtest/schemathesis/hooks.py and loadtest/schemathesis/schemathesis.toml.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 curl=curl
SCHEMATHESIS_VERSION=4.32.5
venv="${TMPDIR:-/tmp}/waypost-schemathesis-$SCHEMATHESIS_VERSION"
[ -x "$venv/bin/st" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q "schemathesis==$SCHEMATHESIS_VERSION" >&2; }
build_waypost
settings="$ROOT/loadtest/schemathesis"
ENDS_OTHERS=(freeze unfreeze rollBack)

run() { # run SECONDS OPTION...
    local seconds=$1 status=0 data log admin key server
    shift
    # schemathesis keeps a cache where it runs.
    data=$(mktemp -d) && log="$data/log" && cd "$data"
    key=$("$WAYPOST_BIN" api-keys new --name schemathesis --scope read,write,suspend,admin --data-dir "$data/data")
    "$WAYPOST_BIN" serve --data-dir "$data/data" --listen 127.0.0.1:0 --admin 127.0.0.1:0 2>"$log" &
    server=$!
    for _ in $(seq 100); do
        admin=$(sed -n 's/.*"event":"listening".*"admin":"\([^"]*\)".*/\1/p' "$log")
        [ -n "$admin" ] && curl -sf "http://$admin/readyz" >/dev/null && break
        sleep 0.1
    done
    OWN_KEY_ID=$(cut -d_ -f2 <<<"$key") SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$settings" PYTHONDONTWRITEBYTECODE=1 \
        "$venv/bin/st" --config-file "$settings/schemathesis.toml" run "$ROOT/deploy/schemas/openapi.json" \
        --url "http://$admin" --header "Authorization: Bearer $key" \
        --max-examples 20 --max-time "$seconds" --warnings off "$@" || status=$?
    kill "$server"
    wait "$server" || status=$?
    cd "$ROOT" && rm -rf "$data"
    return $status
}

seconds=${1:-300}
run "$seconds" "${ENDS_OTHERS[@]/#/--exclude-operation-id=}"
# These operations have no links to each other, so there is no phase of sequences.
run "$seconds" --phases examples,coverage,fuzzing "${ENDS_OTHERS[@]/#/--include-operation-id=}"
