# Sourced by the load tests: installs missing packages as root, else prints which to install; and builds waypost.
# WAYPOST_BIN names a binary to use instead of a release build of this tree.

need() { # need PROGRAM=PACKAGE ...
    local missing=() pair
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
    done
    ((${#missing[@]})) || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing ${missing[*]}" >&2
        apt-get update -qq >&2
        # policy-rc.d: the packages must not start their services
        local policy=/usr/sbin/policy-rc.d made=
        [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; }
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
        [ -z "$made" ] || rm -f $policy
    else
        echo "install first: ${missing[*]}" >&2
        exit 1
    fi
}

need_python_venv() { # Debian has what `python3 -m venv` needs in a package of its own, which has no program.
    python3 -c 'import ensurepip' 2>/dev/null || need no-program=python3-venv
}

kafka_python() { # kafka_python SCRIPT-ARGUMENT...: runs python3 with confluent-kafka, in a venv below TMPDIR that the first run makes
    local version=2.16.1 venv
    venv="${TMPDIR:-/tmp}/waypost-confluent-kafka-$version"
    need_python_venv
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -c "import confluent_kafka" 2>/dev/null || "$venv/bin/pip" install -q "confluent-kafka==$version" >&2
    PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$@"
}

build_waypost() { # sets WAYPOST_BIN
    if [ -z "${WAYPOST_BIN:-}" ]; then
        cargo build --release --locked --manifest-path "$ROOT/Cargo.toml" --bin waypost >&2
        WAYPOST_BIN="${CARGO_TARGET_DIR:-$ROOT/target}/release/waypost"
    fi
    export WAYPOST_BIN
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PATH="$PATH:/usr/sbin"
