#!/usr/bin/env bash
# Waypost judged by tools that others wrote. Fails on a finding of medium or above that loadtest/outside/accepted.toml does
# not name with its reason, and on an entry there that no longer occurs.
#
#   loadtest/outside.sh [TOOL...]     h2spec slowhttptest testssl sslscan h2load curl chromium; none: all, about ten minutes
#
# Each tool is installed by the first run: by apt-get as root, h2spec through Go's module proxy. Needs python3 (3.11 or later).
# Kept as loadtest/results/outside-TOOL.txt and .json. What each asks: the header of its file in loadtest/outside/.
set -euo pipefail
. "$(dirname "$0")/need.sh"
((${#})) || set -- h2spec slowhttptest testssl sslscan h2load curl chromium
need python3=python3 openssl=openssl
for tool in "$@"; do
    case $tool in
    h2spec)
        need go=golang-go
        export H2SPEC_VERSION=2.2.1
        export H2SPEC_BIN="${TMPDIR:-/tmp}/waypost-h2spec-$H2SPEC_VERSION/h2spec"
        [ -x "$H2SPEC_BIN" ] || GOBIN="${H2SPEC_BIN%/*}" go install "github.com/summerwind/h2spec/cmd/h2spec@v$H2SPEC_VERSION+incompatible" >&2
        ;;
    testssl) need testssl=testssl.sh ;;
    h2load) need h2load=nghttp2-client ;;
    chromium) need chromium=chromium chromedriver=chromium-driver certutil=libnss3-tools ;;
    slowhttptest | sslscan | curl) need "$tool=$tool" ;;
    *) echo "outside.sh: no tool $tool" >&2 && exit 64 ;;
    esac
done
build_waypost
# Both ends of each slow connection are on this machine.
ulimit -n "$(ulimit -Hn)"
cd "$ROOT/loadtest"
exec python3 -m outside "$@"
