#!/usr/bin/env bash
# The landing pages in a headless browser: out of an app's own browser and to an app, as a phone and as a desktop, with script and
# without, in every language. Half a minute.
#
#   loadtest/landing_pages.sh [--name NAME] [--screenshots DIRECTORY]
#
# Installs Chromium and its driver by apt-get as root.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 chromium=chromium chromedriver=chromium-driver
build_waypost
cd "$ROOT/loadtest"
PYTHONDONTWRITEBYTECODE=1 exec python3 landing_pages.py "$@"
