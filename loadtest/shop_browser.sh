#!/usr/bin/env bash
# The shop of deploy/shop in a headless browser: a buyer taps a real link, lands, and buys after 13 and after 15 days, with the
# shop on the links' site, on another site, and as an app that resolves the link. The clocks of Waypost and the shop are moved,
# and the commission lines are those of the rules. A minute.
#
#   loadtest/shop_browser.sh [--name NAME]
#
# Installs Chromium and its driver by apt-get as root.
set -euo pipefail
. "$(dirname "$0")/need.sh"
need python3=python3 openssl=openssl chromium=chromium chromedriver=chromium-driver certutil=libnss3-tools gcc=gcc
build_waypost
cd "$ROOT/loadtest"
PYTHONDONTWRITEBYTECODE=1 exec python3 shop_browser.py "$@"
