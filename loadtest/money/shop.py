"""The shop: verifies tokens as they land, sells, and sends versions of orders: paid, delivered, partly sent back, cancelled."""
import dataclasses
import heapq
import json
import random
import subprocess
import sys
import threading
import time

import harness
from money import world
from money.world import DAY_MS

sys.path.insert(0, str(harness.ROOT / "deploy/shop"))
sys.dont_write_bytecode = True
import verify_token  # noqa: E402

CURRENCIES = ("VND", "USD", "THB", "KWD")
#: An order line of this value needs more than 64 bits when its commission is computed.
LARGEST_VALUE = (1 << 53) - 1


@dataclasses.dataclass
class Sale:
    """An order: the versions that were sent, oldest first and paid, and what the model needs to know of it."""
    order_id: str
    sent: list
    bad_tokens: int
    buyer_creator: str
    versions: list


class Shop:
    """Sells for as long as the crowd buys. `send(topic, key, value)` gives a record to Kafka."""

    def __init__(self, scene, binary, edge, send):
        self.world, self.binary, self.edge, self.send = scene, binary, edge, send
        self.chooser, self.lock = random.Random(42), threading.Lock()
        self.sales, self.late, self.refused, self.strangers = [], [], [], []
        self.waiting, self.number = [], 0
        self.keys = {seller: self.export_keys(seller) for seller in world.SELLERS}

    def export_keys(self, seller):
        path = self.edge.data.parent / f"{seller}.json"
        self.run_tool("keys", "export", "--data-dir", self.edge.data, "--seller", seller, "--out", path)
        return verify_token.load_keys(path)

    def run_tool(self, *words, accepted=(0,)):
        ran = subprocess.run([str(word) for word in (self.binary, *words)], capture_output=True, text=True)
        if ran.returncode not in accepted:
            raise harness.Failure(f"waypost {words[0]} {words[1]}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def land(self, taps):
        """Verifies every token of the taps. The shop's own program must say what the tool says."""
        tokens = [(tap, token) for tap in taps for token in tap.tokens]
        if not tokens:
            return
        said = self.run_tool("token", "verify", "--json", "--data-dir", self.edge.data, *[token for _, token in tokens])
        for (tap, token), line in zip(tokens, said.splitlines(), strict=True):
            claims = json.loads(line)
            if claims["verdict"] != "valid" or not tap.sent_ms - 1 <= claims["clicked_at_ms"] <= tap.received_ms + 1:
                raise harness.Failure(f"the token of a tap from {tap.sent_ms} to {tap.received_ms} is {claims}")
            if claims["kind"] == "url" and claims["audience_kind"] == "seller":
                own = verify_token.verify_token(self.keys[claims["audience"]], token, time.time_ns() // 1_000_000)
                if any(own[key] != claims[key] for key in own):
                    raise harness.Failure(f"verify_token.py says {own}, the tool {claims}")
            tap.claims = claims

    def sell(self, buyer, taps):
        """An order with the tokens that landed, and perhaps one that a friend passed on; now and then a broken one."""
        self.land(taps)
        with self.lock:
            chooser, landed = self.chooser, [tap for tap in taps if tap.claims]
            kept = [tap for tap in landed if chooser.random() < 0.85]
            sent = [(tap, True) for tap in kept]
            passed_on = [tap for tap in self.strangers if tap.buyer != buyer.account and tap.claims["kind"] == "url"]
            if passed_on and chooser.random() < 0.1:
                sent.append((chooser.choice(passed_on), False))
            self.strangers = (self.strangers + landed)[-50:]
            self.number += 1
            sale = self.make_sale(f"o_{self.number:06}", buyer.account, sent, landed)
            self.sales.append(sale)
            self.send_versions(sale)
            if chooser.random() < 0.03:
                self.send_late_order(buyer.account)
            if chooser.random() < 0.03:
                self.send_refused_order(sale)

    def make_sale(self, order_id, account, sent, landed):
        chooser, now = self.chooser, time.time_ns() // 1_000_000
        times = [tap.claims["clicked_at_ms"] for tap, _ in sent] or [now]
        paid = chooser.choice((
            max(times) + chooser.randrange(1, 3_600_000), max(times) + chooser.randrange(1, 3_600_000),
            max(times) + chooser.randrange(1, 13 * DAY_MS), min(times), max(times),
            *(chooser.choice(times) + 14 * DAY_MS + ms for ms in (-1, 0, 1)), max(times) + 6 * DAY_MS))
        bad = chooser.choice((0, 0, 0, 0, 1, 2))
        tokens = [{key: value for key, value in {**tap.claims, "landed_at_ms": tap.received_ms}.items()}
                  | ({"landed_by": tap.buyer} if not own or chooser.random() < 0.5 else {}) for tap, own in sent]
        tokens += [{"verdict": chooser.choice(("bad_mac", "unknown_key", "malformed"))} for _ in range(bad)]
        creator = chooser.choice((None, None, None, "c_1", "c_4"))
        order = {"order_id": order_id, "updated_at_ms": paid, "buyer_id": account, "paid_at_ms": paid, "click_tokens": tokens,
                 "lines": [self.make_line(str(number), landed) for number in range(chooser.choice((1, 1, 2, 3)))]}
        if creator:
            order["buyer_creator_id"] = creator
        return Sale(order_id, sent, bad, creator, [order, *self.later_versions(order)])

    def make_line(self, line_id, landed):
        chooser = self.chooser
        product = chooser.choice(world.PRODUCTS)
        products = [tap.link.record["product"] for tap in landed if "product" in tap.link.record]
        if products and chooser.random() < 0.7:
            product = chooser.choice(products)
        return {"line_id": line_id, "seller_id": world.SELLERS[world.PRODUCTS.index(product) % 2], "product_id": product,
                "quantity": chooser.choice((1, 1, 2, 3, 7)), "currency": chooser.choice(CURRENCIES),
                "value_minor": chooser.choice((chooser.randrange(1, 5_000_000), 12_345, 50, 0, LARGEST_VALUE))}

    def later_versions(self, order):
        """Delivered in three of four orders; then something comes back in half of them, at the bounds of the states."""
        chooser, versions = self.chooser, []
        if chooser.random() < 0.25:
            if chooser.random() < 0.5:
                at = order["paid_at_ms"] + DAY_MS
                versions.append({**order, "updated_at_ms": at, "cancelled_at_ms": at})
            return versions
        completed = order["paid_at_ms"] + chooser.choice((0, DAY_MS, 3 * DAY_MS, 9 * DAY_MS))
        versions.append({**order, "updated_at_ms": completed + 1, "completed_at_ms": completed})
        if chooser.random() < 0.5:
            return versions
        moments = [completed + days * DAY_MS + ms for days in (0, 10, 14, 21, 25) for ms in (-1, 0)]
        last = json.loads(json.dumps(versions[-1]))
        for line in last["lines"]:
            line["returns"] = [{"returned_at_ms": max(order["paid_at_ms"], chooser.choice(moments)),
                                "quantity": chooser.choice((1, 1, 2, 9))} for _ in range(chooser.choice((0, 1, 1, 2, 3)))]
        if chooser.random() < 0.2:
            last["cancelled_at_ms"] = chooser.choice(moments[2:])
        if len(last["lines"]) > 1 and chooser.random() < 0.2:
            last["lines"].pop()
        last["updated_at_ms"] = completed + 26 * DAY_MS
        return [*versions, last]

    def send_versions(self, sale):
        """Over half a minute, not always in their order, and some twice."""
        for version in sale.versions:
            for _ in range(self.chooser.choice((1, 1, 1, 2))):
                self.send_later("orders", sale.order_id, json.dumps(version), self.chooser.random() * 30)

    def send_late_order(self, account):
        """An order that arrives 15 days after its payment: for `waypost attribute`, not for the stream."""
        paid = time.time_ns() // 1_000_000 - 15 * DAY_MS
        order = {"order_id": f"late_{len(self.late)}", "updated_at_ms": paid, "buyer_id": account, "paid_at_ms": paid,
                 "click_tokens": [], "lines": [self.make_line("1", [])]}
        self.late.append(json.dumps(order))
        self.send_later("orders", order["order_id"], self.late[-1], 0)

    def send_refused_order(self, sale):
        """A version that cannot be used: it changes nothing."""
        order = {**sale.versions[0], "order_id": f"refused_{len(self.refused)}"}
        order["lines"] = [{**order["lines"][0], "quantity": 0}]
        self.refused.append(json.dumps(order))
        self.send_later("orders", order["order_id"], self.refused[-1], 0)

    def send_later(self, topic, key, value, seconds):
        heapq.heappush(self.waiting, (time.monotonic() + seconds, len(self.waiting), random.random(), topic, key, value))

    def send_due(self, everything=False):
        with self.lock:
            while self.waiting and (everything or self.waiting[0][0] <= time.monotonic()):
                *_, topic, key, value = heapq.heappop(self.waiting)
                self.send(topic, key, value)

    def change_sets(self):
        """A set's entry gets another rate, or ends, a moment from now."""
        with self.lock:
            entry = self.chooser.choice(self.world.entries)
            at = time.time_ns() // 1_000_000 + 1500
            new = self.world.add_entry(entry["product_set_id"], entry["seller_id"], entry["product_id"], at,
                                       self.chooser.randrange(500, 2600), removed=self.chooser.random() < 0.3)
            self.send("product_sets", set_key(new), json.dumps(new))


def set_key(entry):
    return "/".join(str(entry[key]) for key in ("product_set_id", "seller_id", "product_id", "valid_from_ms"))
