"""Bytes of a click in each encoding: loadtest/encodings.sh. The clicks are the golden events with random ids, addresses,
agents, codes and ad click ids."""
import json
import pathlib
import random
import uuid

import lz4.frame
import zstandard

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIELDS = json.loads((ROOT / "deploy/schemas/click.v1.schema.json").read_text())["properties"]
CLICKS = 5000
BATCHES = (20, 200, 1000)
SHARES = {"ordinary": 70, "returning_double_tap": 12, "gpc": 5, "app_resolve": 5, "preview": 4, "head": 4}
IDS = ("click_id", "visitor_id", "previous_click_id")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{}_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 "
    "Instagram 33{}.0.4.32.98 (iPhone14,5; iOS 17_5_1; ko_KR; ko; scale=3.00; 1170x2532; 6075{:05})",
    "Mozilla/5.0 (Linux; Android 1{}; SM-S91{}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.{}.0 Mobile "
    "Safari/537.36",
)


def varint(number):
    encoded = b""
    while number >= 128:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def protobuf(click, enums=False, binary_ids=False):
    encoded = b""
    for name, value in click.items():
        number = FIELDS[name]["x-field-number"]
        if enums and "enum" in FIELDS[name]:
            value = FIELDS[name]["enum"].index(value) + 1
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(int(value))
            continue
        text = bytes.fromhex(value.replace("-", "")) if binary_ids and name in IDS else value.encode()
        encoded += varint(number << 3 | 2) + varint(len(text)) + text
    return encoded


ENCODINGS = {
    "JSON": lambda click: json.dumps(click, separators=(",", ":"), ensure_ascii=False).encode(),
    "Protobuf": protobuf,
    "Protobuf, enums": lambda click: protobuf(click, enums=True),
    "Protobuf, ids as bytes": lambda click: protobuf(click, binary_ids=True),
}


def clicks(golden, chance):
    for number in range(CLICKS):
        click = dict(chance.choices(golden, SHARES.values())[0])
        at_ms = 1795000000123 + number * 20
        click["clicked_at_ms"] = at_ms
        click["click_id"] = str(uuid.UUID(int=at_ms << 80 | 7 << 76 | 2 << 62 | chance.getrandbits(62)))
        click["seq"], click["safe"] = 48213 + number, 48190 + number - chance.randint(0, 20)
        click["client_ip"] = ".".join(str(chance.randint(1, 254)) for _ in range(4))
        digits = chance.randint(0, 9), chance.randint(0, 9), chance.randint(0, 99999)
        click["user_agent"] = chance.choice(AGENTS).format(*digits)
        link = chance.randint(0, 3000)
        click["code"] = f"{link * 2654435761 % 2**32:08x}"
        if "visitor_id" in click:
            click["visitor_id"] = f"{chance.getrandbits(128):032x}"
        if "previous_click_id" in click:
            click["previous_click_id"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        if "creator_id" in click:
            click["creator_id"], product = f"c_{link % 500}", str(1729384756 + link * 7919)
            click["destination"] = click.get("destination", "").replace("1729384756", product)
            click["product_id"] = product
        if "ad_click_id" in click:
            ad_click_id = "PAZXh0bgNhZW0CMTEA" + "".join(chance.choices(LETTERS, k=40))
            click["query"] = click["query"].replace(click["ad_click_id"], ad_click_id)
            click["ad_click_id"] = ad_click_id
        yield click


def main():
    golden = [json.loads((ROOT / f"tests/fixtures/events/{name}.json").read_text()) for name in SHARES]
    sample = list(clicks(golden, random.Random(3)))
    ordinary = len(ENCODINGS["JSON"](golden[0])), len(protobuf(golden[0]))
    print(f"an ordinary click (tests/fixtures/events/ordinary.json): JSON {ordinary[0]}, Protobuf {ordinary[1]} bytes")
    print(f"{CLICKS} random clicks, bytes a click:")
    print(f"{'clicks a batch':>14}  {'encoding':<24}{'plain':>8}{'LZ4':>8}{'zstd':>8}")
    for size in BATCHES:
        for name, encode in ENCODINGS.items():
            values = [b"".join(map(encode, sample[at:at + size])) for at in range(0, CLICKS, size)]
            packed = [list(map(pack, values)) for pack in (bytes, lz4.frame.compress, zstandard.compress)]
            sums = [sum(map(len, batch)) // CLICKS for batch in packed]
            print(f"{size:>14}  {name:<24}{sums[0]:>8}{sums[1]:>8}{sums[2]:>8}")


if __name__ == "__main__":
    main()
