#!/usr/bin/env python3
"""Verifies receipts and proofs of clicks without Waypost. docs/receipts.md says what they mean.

    verify_receipt.py --key PUBLIC.pem [--key OLDER.pem ...] FILE...

Each line of a FILE is a signed receipt or a proof, as `waypost receipts --json` and `waypost receipts prove` print them,
or a leaf of the receipt before it (`--leaves`). Checks the signature of each receipt, every path, and, if a receipt's
leaves follow it, that root and counts follow from them. Prints one line for each thing that it verified. Exits 1 at the
first thing that is not genuine. Needs the package `cryptography` for Ed25519; the rest is the standard library.
"""
import argparse
import base64
import collections
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key


class Wrong(Exception):
    """Something is not as the receipt says."""


def canonical(value):
    """The bytes of RFC 8785, for objects without floating point numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_leaf(leaf):
    return hashlib.sha256(b"\x00" + canonical(leaf)).digest()


def root_of(hashes):
    """The root of RFC 6962."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def root_of_path(leaf, index, count, path):
    """The root that a path leads to from a leaf's hash."""
    if not 0 <= index < count or bool(path) != (count > 1):
        raise Wrong("the path does not fit a tree of this size")
    if not path:
        return leaf
    split = 1 << (count - 1).bit_length() - 1
    beside, below = bytes.fromhex(path[-1]), path[:-1]
    if index < split:
        return hashlib.sha256(b"\x01" + root_of_path(leaf, index, split, below) + beside).digest()
    return hashlib.sha256(b"\x01" + beside + root_of_path(leaf, index - split, count - split, below)).digest()


def verify_signature(signed, keys):
    receipt = signed["receipt"]
    if receipt["type"] != "waypost.receipt.v1":
        raise Wrong("is no receipt of version 1")
    if receipt["key_id"] not in keys:
        raise Wrong(f"key {receipt['key_id']} is not given (--key)")
    signature = signed["signature"]
    try:
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        keys[receipt["key_id"]].verify(raw, canonical(receipt))
    except (InvalidSignature, ValueError):
        raise Wrong("the signature is not genuine") from None
    return receipt


def verify_path(leaf, proof, stated):
    if stated is None:
        raise Wrong("the receipt states no order lines")
    if root_of_path(hash_leaf(leaf), proof["index"], stated["count"], proof["path"]).hex() != stated["root"]:
        raise Wrong("the path does not lead to the stated root")


def verify_leaves(receipt, leaves):
    """Counts and roots of a receipt, from all its leaves."""
    clicks = sorted((leaf for leaf in leaves if "line_id" not in leaf), key=lambda leaf: leaf["click_id"].encode())
    lines = sorted((leaf for leaf in leaves if "line_id" in leaf),
                   key=lambda leaf: (leaf["order_id"].encode(), leaf["line_id"].encode()))
    if len({leaf["click_id"] for leaf in clicks}) != len(clicks):
        raise Wrong("a click stands twice among the leaves")
    keys = ("class", "code", "countable", "domain")
    groups = collections.Counter(tuple(leaf[key] for key in keys) for leaf in clicks)
    stated = {tuple(group[key] for key in keys): group["clicks"] for group in receipt["clicks"]["groups"]}
    root = root_of([hash_leaf(leaf) for leaf in clicks]).hex()
    counted = {"count": len(clicks), "countable": sum(leaf["countable"] for leaf in clicks), "root": root}
    if any(counted[key] != receipt["clicks"][key] for key in counted) or dict(groups) != stated:
        raise Wrong("the counts or the root of the clicks do not follow from the leaves")
    sums = collections.defaultdict(lambda: [0, 0, 0])
    for line in lines:
        for at, amount in enumerate((1, line["commission_minor"], line["clawed_back_minor"])):
            sums[line["currency"], line["state"]][at] += amount
    stated = receipt.get("lines", {"count": 0, "root": root_of([]).hex(), "totals": []})
    totals = {(total["currency"], total["state"]):
              [total["lines"], total["commission_minor"], total["clawed_back_minor"]] for total in stated["totals"]}
    root = root_of([hash_leaf(line) for line in lines]).hex()
    if (len(lines), root, dict(sums)) != (stated["count"], stated["root"], totals):
        raise Wrong("the sums or the root of the order lines do not follow from the leaves")


def describe(receipt):
    return (f"creator {receipt['creator_id']}, {receipt['day']}, revision {receipt['revision']}: "
            f"{receipt['clicks']['count']} clicks, {receipt['clicks']['countable']} count")


def verify_lines(lines, keys):
    """Yields a text for each thing that is verified. `lines` has (place, object)."""
    receipt, leaves = None, []
    for place, value in [*lines, (None, None)]:
        is_leaf = value is not None and "receipt" not in value
        try:
            if not is_leaf and leaves:
                verify_leaves(receipt, leaves)
                yield f"  counts and roots follow from its {len(leaves)} leaves"
                leaves = []
            if value is None:
                return
            if is_leaf and receipt is None:
                raise Wrong("a leaf before its receipt")
            if is_leaf:
                leaves.append(value)
            elif "click" in value:
                receipt = verify_signature(value["receipt"], keys)
                verify_path(value["click"], value, receipt["clicks"])
                click = value["click"]
                yield f"{describe(receipt)}; click {click['click_id']} is counted: {canonical(click).decode()}"
                for line in value.get("lines", []):
                    if line["line"]["click_id"] != value["click"]["click_id"]:
                        raise Wrong("an order line of another click")
                    verify_path(line["line"], line, receipt.get("lines"))
                    yield f"  it earned: {canonical(line['line']).decode()}"
            else:
                receipt = verify_signature(value, keys)
                yield f"{describe(receipt)}; the signature is genuine"
        except Wrong as wrong:
            raise Wrong(f"{place or 'the leaves at the end'}: {wrong}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise Wrong(f"{place or 'the leaves at the end'}: is not in the form of a receipt: {wrong!r}") from None


def main():
    parser = argparse.ArgumentParser(description="Verifies receipts and proofs of clicks.")
    parser.add_argument("--key", action="append", required=True, help="a public key of the operator, PEM")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    keys = {}
    for path in options.key:
        with open(path, "rb") as file:
            key = load_pem_public_key(file.read())
        keys[hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]] = key
    try:
        for path in options.files:
            with open(path, encoding="utf-8") as file:
                lines = [(f"{path}:{number}", json.loads(line)) for number, line in enumerate(file, 1) if line.strip()]
            for text in verify_lines(lines, keys):
                print(text)
    except (Wrong, ValueError) as wrong:
        sys.exit(f"NOT VERIFIED: {wrong}")


if __name__ == "__main__":
    main()
