#!/usr/bin/env bash
# CPU a click when every click comes on a new connection, beside nginx with the same certificate and limits: TLS with HTTP/1.1 and
# HTTP/2, resumed, and no TLS. Figures on stdout; --name NAME keeps the run.
#
#   loadtest/tls.sh [--rounds 9] [--seconds 2] [--name NAME] [--at-most 0.60]
#
# One core serves, the other generates (tls.c); so a machine with two cores and nothing else to do. The first run installs nginx,
# gcc, openssl and the headers of OpenSSL and nghttp2 by apt-get if it is root. Needs python3. What is measured: tls.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need nginx=nginx-light gcc=gcc openssl=openssl python3=python3
for header in openssl/ssl.h=libssl-dev nghttp2/nghttp2.h=libnghttp2-dev; do
    [ -e "/usr/include/${header%%=*}" ] || need "no-such-program=${header##*=}"
done
build_waypost
exec python3 "$ROOT/loadtest/tls.py" "$@"
