#!/usr/bin/env bash
# Bytes of a click in JSON and in Protobuf, as it is and in batches behind LZ4 and zstd, the way a producer compresses them;
# beside them the two forms of Protobuf that were not chosen. Writes loadtest/results/encodings.txt. Needs python3 with venv.
#
#   loadtest/encodings.sh
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/tools/encodings
[ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q 'lz4==4.4.5' 'zstandard==0.25.0'; }
"$venv/bin/python" loadtest/encodings.py | tee loadtest/results/encodings.txt
