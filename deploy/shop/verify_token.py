"""Verifies Waypost's URL tokens with a shop's exported keys. Python 3.9 or later, without other packages.

    waypost keys export --seller s_311 --out shop.json      # on the edge; the file is secret
    python3 verify_token.py --keys shop.json TOKEN...      # one JSON object a token; exit 1 if one is not valid

In a shop's own server:

    keys = load_keys("shop.json")
    claims = verify_token(keys, request.args["wp"], now_ms=int(time.time() * 1000))
    claims["verdict"]                                       # valid, expired, bad_mac, unknown_key, malformed

Verify a token when it arrives, and keep what is returned with the buyer: keys retire. `landed` adds when and by whom.
"""
import argparse
import base64
import binascii
import hashlib
import hmac
import json
import re
import sys
import time
import uuid

DAY_MS = 86_400_000
#: A token is valid for 14 days from its click, and if it is dated at most a day ahead.
LIFE_MS = 14 * DAY_MS
MAX_AHEAD_MS = DAY_MS
FORM = re.compile(r"v1\.([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})", re.ASCII)
SCOPES = ("domain", "seller", "partner")
FLAGS = ((1, "navigation"), (2, "gpc"), (4, "unrecorded"))


def load_keys(path):
    """Reads the file that `waypost keys export` wrote."""
    with open(path, encoding="utf-8") as file:
        keys = json.load(file)["keys"]
    return {key["id"]: (decode_base64url(key["key"]), key.get("retired_at_ms")) for key in keys}


def decode_base64url(text):
    """Base64url without padding; raises ValueError if the text is not the one way to write its bytes."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise ValueError("not canonical")
    return data


def verify_token(keys, token, now_ms):
    """The verdict, and the claims if the token is genuine. Never raises for what a buyer sends."""
    form = FORM.fullmatch(token)
    if not form:
        return {"verdict": "malformed"}
    key_id, payload_text, mac_text = form.groups()
    key, retired_at_ms = keys.get(key_id, (None, None))
    if key is None or (retired_at_ms is not None and now_ms >= retired_at_ms + LIFE_MS):
        return {"verdict": "unknown_key"}
    try:
        payload, mac = decode_base64url(payload_text), decode_base64url(mac_text)
    except (ValueError, binascii.Error):
        return {"verdict": "malformed"}
    if not hmac.compare_digest(hmac.new(key, payload, hashlib.sha256).digest()[:16], mac):
        return {"verdict": "bad_mac"}
    claims = parse_payload(payload)
    if claims is None:
        return {"verdict": "malformed"}
    clicked = claims["clicked_at_ms"]
    is_valid = now_ms < clicked + LIFE_MS and clicked <= now_ms + MAX_AHEAD_MS
    return {"verdict": "valid" if is_valid else "expired", **claims, "key_id": key_id}


def parse_payload(payload):
    """click id 16 | flags u8 | length u8, domain | length u8, scope's name | code; None if it is none."""
    try:
        click, flags, rest = payload[:16], payload[16], payload[17:]
        domain, rest = rest[1:1 + rest[0]], check_length(rest)
        scope, code = rest[1:1 + rest[0]], check_length(rest)
        domain, scope, code = domain.decode(), scope.decode(), code.decode()
        scope_kind = SCOPES[flags >> 6]
    except (IndexError, UnicodeDecodeError):
        return None
    return {
        "kind": "url",
        "click_id": str(uuid.UUID(bytes=click)),
        "clicked_at_ms": int.from_bytes(click[:6], "big"),
        "domain": domain,
        "code": code,
        "audience_kind": scope_kind,
        "audience": scope or domain,
        "flags": [name for bit, name in FLAGS if flags & bit],
    }


def check_length(data):
    """What is behind a text with its length in front."""
    if len(data) < 1 + data[0]:
        raise IndexError
    return data[1 + data[0]:]


def landed(claims, now_ms, account=None):
    """An element of an order's click_tokens: the verified claims, when the token arrived, and the account if known."""
    return {**claims, "landed_at_ms": now_ms, **({"landed_by": account} if account else {})}


def main():
    parser = argparse.ArgumentParser(description="Verify URL tokens with a shop's exported keys.")
    parser.add_argument("--keys", required=True, help="the file that `waypost keys export` wrote")
    parser.add_argument("--now-ms", type=int, default=int(time.time() * 1000), help="the time, ms since the epoch")
    parser.add_argument("tokens", nargs="+")
    options = parser.parse_args()
    keys = load_keys(options.keys)
    verdicts = [verify_token(keys, token, options.now_ms) for token in options.tokens]
    for verdict in verdicts:
        print(json.dumps(verdict))
    sys.exit(any(verdict["verdict"] != "valid" for verdict in verdicts))


if __name__ == "__main__":
    main()
