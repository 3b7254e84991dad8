"""How long `waypost attribute` takes for a month of clicks and orders, and its peak memory. See attribute.sh.

The clicks are those of four weeks: four of five have a cookie jar, a jar has three clicks on average, one of a hundred
is a machine's, one of two hundred is there twice, one of a thousand has a stub. An order has two versions, one to three
lines and one to three tokens; seven of eight lines are for a product that one of the tokens links to.
"""
import argparse
import json
import os
import random
import resource
import subprocess
import time

import harness
from harness import Failure, say

DAY = 86_400_000
PAID_UNTIL = 1_795_176_000_000
FROM = PAID_UNTIL - 28 * DAY
LINKS = 100_000
SELLERS = 500

# About 1 KB, as an in-app browser's click is on the topic.
CLICK = (
    '{"type":"click","schema_version":1,"click_id":"%s","clicked_at_ms":%d,"edge":"edge-%d","lane":%d,'
    '"epoch":1794900000000,"seq":%d,"safe":%d,"outcome":"redirected","status":302,'
    '"destination":"https://shop.example.com/view/product/%s?creator=c_%d&wp={click_token}",'
    '"destination_host":"shop.example.com","carrier":"browser","cookie_set":true,"token_placed":true,'
    '"token_kid":"G_isEHqx","domain":"*","code":"%s","link_version":17,"link_kind":"product",'
    '"link_created_at_ms":%d,"link_ends_at_ms":%d,"creator_id":"c_%d","creator_type":"affiliate",'
    '"seller_id":"s_%d","product_id":"%s","plan":"open","rate_bp":%d,"link_test":false,%s"cookie_state":"none",'
    '"consent":"none","gpc":false,"method":"GET","http_version":"2","tls_version":"1.3","client_ip":"203.0.113.7",'
    '"client_ip_mode":"full","client_ip_from":"peer","user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) '
    'AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5; en_US)",'
    '"referer":"https://l.instagram.com/","accept_language":"en-US,en;q=0.9","truncated":false,"class":"%s",'
    '"class_reason":"browser","countable":true,"countable_reason":"human","duplicate":false,"source":"instagram",'
    '"source_reason":"referer","in_app":true,"in_app_name":"instagram","device":"phone","os":"ios","os_version":"17.5",'
    '"browser":"instagram","browser_version":"334.0","labels_version":2}\n'
)
STUB = ('{"type":"dead_lettered","schema_version":1,"click_id":"%s","clicked_at_ms":%d,"edge":"edge-1","lane":0,'
        '"epoch":1794900000000,"seq":%d,"safe":0,"reason":"refused","size":1024}\n')


def mix(number):
    """A hash that is the same at each run."""
    number = (number * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    number ^= number >> 31
    number = (number * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return number ^ number >> 27


class Clicks:
    """Click `number` is the same wherever it is asked for."""

    def __init__(self, count):
        self.count = count
        self.jars = max(1, count * 4 // 15)

    def fields(self, number):
        chance = mix(number)
        at = FROM + 28 * DAY * number // self.count
        click_id = "%08x-%04x-7%03x-8%03x-%012x" % (at >> 16, at & 0xFFFF, chance >> 52, chance & 0xFFF, number)
        link = mix(chance) % LINKS
        jar = "%032x" % (mix(chance >> 3) % self.jars) if chance % 5 else None
        return at, click_id, link, jar

    def line(self, number):
        at, click_id, link, jar = self.fields(number)
        created = FROM - (link % 60) * DAY
        product, creator = "p_%d" % (link // 3), link % 5000
        visitor = '"visitor_id":"%s","visitor_new":false,' % jar if jar else ""
        return CLICK % (click_id, at, number % 4, number % 2, number, number, product, creator, harness.code_of(link),
                        created, created + 100 * DAY, creator, link // 3 % SELLERS, product, 500 + link % 2100, visitor,
                        "bot" if mix(number + 1) % 100 == 0 else "human")


def write_clicks(path, clicks):
    with open(path, "w", buffering=1 << 22) as file:
        for number in range(clicks.count):
            line = clicks.line(number)
            file.write(line)
            if number % 200 == 0:
                file.write(line)
            if number % 1000 == 0:
                at, click_id, _, _ = clicks.fields(number)
                file.write(STUB % (click_id, at, number))


def token(clicks, number, chance):
    at, click_id, link, jar = clicks.fields(number)
    claims = {"verdict": "valid", "kind": "url", "click_id": click_id, "clicked_at_ms": at, "domain": "*",
              "code": harness.code_of(link)}
    if jar and chance % 10 == 0:
        return {**claims, "kind": "cookie", "visitor_id": jar}
    return {**claims, "audience_kind": "seller", "audience": "s_%d" % (link // 3 % SELLERS)}


def write_orders(path, clicks, count):
    """Writes both versions of each order, and returns the number of lines."""
    chooser, lines = random.Random(1), 0
    with open(path, "w", buffering=1 << 22) as file:
        for number in range(count):
            named = [chooser.randrange(clicks.count) for _ in range(chooser.choice((1, 1, 2, 3)))]
            paid = max(clicks.fields(click)[0] for click in named) + chooser.randrange(1, 3 * DAY)
            basket = []
            for line in range(chooser.choice((1, 1, 2, 3))):
                link = clicks.fields(chooser.choice(named))[2] if chooser.randrange(8) else chooser.randrange(LINKS)
                basket.append({"line_id": str(line), "seller_id": "s_%d" % (link // 3 % SELLERS),
                               "product_id": "p_%d" % (link // 3), "quantity": 1 + line, "value_minor": 100_000,
                               "currency": "VND"})
            order = {"order_id": "o_%08d" % number, "updated_at_ms": paid, "buyer_id": "b_%d" % number,
                     "paid_at_ms": paid, "click_tokens": [token(clicks, click, mix(click)) for click in named],
                     "lines": basket}
            later = {**order, "updated_at_ms": paid + 3 * DAY, "completed_at_ms": paid + 3 * DAY}
            file.write(json.dumps(order) + "\n" + json.dumps(later) + "\n")
            lines += len(basket)
    return lines


def attribute(binary, clicks, orders, out):
    """Seconds, and peak resident bytes so far of any run."""
    began = time.monotonic()
    with open(out, "wb") as file:
        subprocess.run([binary, "attribute", "--clicks", clicks, "--orders", orders, "--as-of",
                        str(PAID_UNTIL + 60 * DAY), "--json"], stdout=file, check=True)
    seconds = time.monotonic() - began
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description="Time and memory of waypost attribute.")
    parser.add_argument("--clicks", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where the inputs are written")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir(options.directory)
    record = {"setup": harness.setup(binary), "clicks": options.clicks, "orders": options.orders, "rounds": []}
    clicks, paths = Clicks(options.clicks), [directory / name for name in ("clicks", "orders", "rows")]
    say(f"writing {options.clicks} clicks and {options.orders} orders")
    write_clicks(paths[0], clicks)
    lines = write_orders(paths[1], clicks, options.orders)
    for _ in range(options.rounds):
        seconds, peak = attribute(binary, *paths)
        record["rounds"].append({"seconds": seconds, "peak_bytes": peak})
        say(f"{seconds:.1f} s")
    rows, credited = 0, 0
    with open(paths[2]) as file:
        for row in file:
            rows += 1
            credited += '"creator_id":' in row
    if rows != lines or credited < lines // 2:
        raise Failure(f"{rows} rows for {lines} lines, {credited} credited")
    sizes = [path.stat().st_size / 2**20 for path in paths]
    best = min(round["seconds"] for round in record["rounds"])
    worst = max(round["seconds"] for round in record["rounds"])
    text = (f"{options.clicks} clicks ({sizes[0]:.0f} MiB), {options.orders} orders ({sizes[1]:.0f} MiB): "
            f"{rows} rows ({sizes[2]:.0f} MiB), {credited} credited\n"
            f"{best:.1f} to {worst:.1f} s in {options.rounds} rounds, at most {peak / 2**20:.0f} MiB resident\n")
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
