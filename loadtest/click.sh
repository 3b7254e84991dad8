#!/usr/bin/env bash
# CPU a click, beside nginx doing the same job and beside the floor. Figures on stdout; NAME=... keeps the run.
#
#   loadtest/click.sh [--rounds 9] [--seconds 1] [--sets lean,in-app] [--kafka] [--name NAME]
#
# One core serves, the other generates (wrk -t1 -c64); so a machine with two cores and nothing else to do.
# The first run installs nginx, wrk and gcc by apt-get if it is root. Needs python3. What is measured: click.py.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need nginx=nginx-light wrk=wrk gcc=gcc python3=python3 taskset=util-linux
case " $* " in *" --kafka "*) need java=openjdk-17-jre-headless mvn=maven ;; esac
build_waypost
exec python3 "$ROOT/loadtest/click.py" "$@"
