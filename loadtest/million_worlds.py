"""Random clicks, orders, product sets and links for million.py. Times lie at the bounds of the rule and a millisecond beside them.

A *group* is a buyer with two cookie jars, ten clicks and six links of its own; one group of ten orders. All times of a group are
relative to the payment of its order, which is often a border of days. No two records contradict each other in all that the rule
orders them by, and no two versions of an order have one time: there the rule would be silent.
"""
import json

DAY = 86_400_000
CLICKS_OF_A_GROUP = 10
LINKS_OF_A_GROUP = 6
SELLERS, PRODUCTS, CREATORS = ("s", "s", "t"), ("p0", "p0", "p1"), ("c0", "c1", "c2")
#: Age of a click at payment.
AGES = (DAY, 0, 0, 1, -1, 2 * DAY, 14 * DAY - 1, 14 * DAY, 14 * DAY + 1, 13 * DAY, 7 * DAY, 3_600_000)


class Group:
    """One buyer. `send(topic, key, value, timestamp, arrived_at)` takes each record; `None` as a timestamp or arrival means none."""

    def __init__(self, number, chooser, send, base_ms):
        self.number, self.chooser, self.send = number, chooser, send
        self.paid = base_ms + chooser.randrange(20) * DAY + chooser.choice((0, 0, 1, -1, chooser.randrange(DAY)))
        self.links = [self.link(at) for at in range(LINKS_OF_A_GROUP)]

    def pick(self, *from_):
        return self.chooser.choice(from_)

    def one_in(self, count):
        return self.chooser.randrange(count) == 0

    def link(self, at):
        """The facts of a link as its clicks carry them."""
        created = self.paid - self.pick(30, 99, 100, 101) * DAY + self.pick(-1, 0, 1)
        kind = ("product", "product", "showcase", "campaign", "product", "plain")[at]
        facts = {"domain": "*", "code": f"g{self.number}-{at}", "link_kind": kind, "link_created_at_ms": created,
                 "link_ends_at_ms": self.pick(created + 100 * DAY, created + 100 * DAY, self.paid, self.paid + 1, created + 200 * DAY),
                 "link_test": self.one_in(12), "creator_type": self.pick("affiliate", "affiliate", "linkshare-only")}
        if not self.one_in(12):
            facts["creator_id"] = self.pick(*CREATORS)
        if self.one_in(2):
            facts["partner_id"] = "tap"
        if kind == "product":
            facts |= {"seller_id": self.pick(*SELLERS), "product_id": self.pick(*PRODUCTS), "plan": "open",
                      "rate_bp": self.pick(1000, 555, 1, 10_000)}
        elif kind == "showcase":
            facts |= {"product_set_id": f"set-{self.number}-0", **self.pick({}, {"seller_id": "s"})}
        elif kind == "campaign":
            facts |= {"product_set_id": f"set-{self.number}-1", "campaign_id": "k"}
        return facts

    def click(self, at):
        click = {"type": "click", "schema_version": 1, "click_id": f"{self.number:07d}-{at}", "clicked_at_ms": self.paid - self.pick(*AGES),
                 "edge": "e", "lane": 0, "epoch": 1, "seq": self.number * 1000 + at * 10, "safe": 0,
                 "outcome": "expired" if self.one_in(10) else "redirected", "class": "bot" if self.one_in(8) else "human",
                 "source": self.pick("instagram", "tiktok"), "labels_version": 1, "duplicate": self.one_in(3), "countable": True,
                 **self.pick(*self.links)}
        visitor = self.pick(None, "va", "vb")
        if visitor:
            click["visitor_id"] = f"{visitor}-{self.number}"
        arrived = self.paid + self.pick(14 * DAY - 1, 14 * DAY, DAY) if self.one_in(6) else click["clicked_at_ms"] + self.pick(0, 900)
        return click, arrived

    def send_click(self, click, arrived):
        """The click's records: perhaps none, perhaps a stub beside it, perhaps once more as it was or with other labels."""
        key = click.get("visitor_id", click["click_id"])
        records = []
        if not self.one_in(8):
            records.append((click, arrived))
            if self.one_in(8):
                records.append((click, arrived))
        if self.one_in(8):
            stub = {name: click[name] for name in ("schema_version", "click_id", "clicked_at_ms", "edge", "lane", "epoch", "seq", "safe")}
            records.append(({**stub, "type": "dead_lettered", "reason": "refused", "size": 1}, self.pick(1, arrived)))
        if self.one_in(8):
            changed = {**click, "seq": click["seq"] + 1, "labels_version": self.pick(1, 2), "duplicate": self.one_in(2),
                       "class": self.pick("human", "bot")}
            records.append((changed, self.pick(1, arrived, self.paid)))
        self.chooser.shuffle(records)
        for record, at in records:
            topic = "clicks" if record.get("outcome", "redirected") == "redirected" else "clicks.orphan"
            self.send(topic, key, record, click["clicked_at_ms"], at)

    def token(self, click):
        at = click["clicked_at_ms"]
        token = {"verdict": self.pick("valid", "valid", "valid", "expired", "bad_mac"), "click_id": click["click_id"], "clicked_at_ms": at,
                 "domain": "*", "code": click["code"], "flags": self.pick([], [], ["navigation"], ["navigation", "unjournaled"])}
        if self.one_in(4):
            token |= {"kind": "cookie", "visitor_id": f"{self.pick('va', 'vb')}-{self.number}"}
        else:
            kinds = (("seller", "seller_id"), ("partner", "partner_id"))
            kind, audience = next(((kind, click[key]) for kind, key in kinds if key in click), ("domain", "*"))
            token |= {"kind": "url", "audience_kind": kind, "audience": "somebody" if self.one_in(8) else audience}
        if self.one_in(10):
            token["code"] = f"g{self.number}-0"
        if landed_by := self.pick(None, f"b{self.number}", "stranger"):
            token["landed_by"] = landed_by
        if self.one_in(3):
            token["landed_at_ms"] = at + self.pick(5, -1, -DAY, -DAY - 1)
        return token

    def line(self, at):
        completed = self.paid + 3 * DAY
        moments = (completed - 1, completed, completed + 21 * DAY - 1, completed + 21 * DAY, completed + 25 * DAY)
        return {"line_id": str(at), "seller_id": self.pick(*SELLERS), "product_id": self.pick("p0", "p1", "p2"),
                "quantity": self.pick(1, 2, 3, 7), "value_minor": self.pick(100_000, 0, 5000, 99_999, (1 << 53) - 1), "currency": "VND",
                "returns": [{"returned_at_ms": self.pick(*moments), "quantity": self.pick(1, 2)} for _ in range(self.chooser.randrange(4))]}

    def order_versions(self, clicks):
        tokens = [self.token(click) for click in clicks for _ in range(self.pick(0, 1, 1, 2))]
        paid = {"order_id": f"o{self.number}", "updated_at_ms": self.paid, "buyer_id": f"b{self.number}", "paid_at_ms": self.paid,
                "click_tokens": tokens, "lines": [self.line(at) for at in range(self.pick(1, 2, 3))]}
        if self.one_in(2):
            paid["buyer_creator_id"] = "c0"
        versions = [paid]
        if self.one_in(6):
            versions.append({**{key: paid[key] for key in ("order_id", "buyer_id")}, "updated_at_ms": 1, "lines": []})
        if not self.one_in(4):
            completed = self.paid + 3 * DAY
            later = {**paid, "updated_at_ms": self.paid + self.pick(4, 20, 25) * DAY, "click_tokens": [],
                     "lines": [line for line in paid["lines"] if not self.one_in(8)]}
            if not self.one_in(6):
                later["completed_at_ms"] = completed
            if self.one_in(5):
                later["cancelled_at_ms"] = self.pick(completed - 1, completed, completed + 10 * DAY, completed + 22 * DAY)
            if self.one_in(8):
                later["lines"].append(self.line(9))
            versions.append(later)
        return versions

    def send_set_entries(self):
        for at in range(self.chooser.randrange(6)):
            entry = {"product_set_id": f"set-{self.number}-{at % 2}", "seller_id": "s", "product_id": self.pick("p0", "p1"),
                     "valid_from_ms": self.paid - self.pick(30, 10, 1, 0) * DAY + at}
            entry |= {"removed": True} if self.one_in(4) else {
                "plan": "targeted", "rate_bp": self.pick(1200, 333), **self.pick({}, {"partner_id": "tap-of-set"})}
            self.send("product_sets", json.dumps(entry), entry, None, None)

    def send_links(self):
        """Lines of the links file for some of the codes: what a token without record is credited by."""
        for at in range(LINKS_OF_A_GROUP):
            if self.one_in(2):
                link = {"domain": "*", "code": f"g{self.number}-{at}", "url": "https://shop.example.com/", "kind": "product", "creator": "c9",
                        "creator_type": "affiliate", "seller": self.pick(*SELLERS), "product": self.pick("p0", "p1"), "plan": "open",
                        "rate_bp": 700, "created_at": "2026-10-21T12:00:00Z", "test": self.one_in(9)}
                self.send("links", link["code"], link, None, None)

    def play(self, orders):
        """Sends everything; with `orders` an order too, sometimes before its clicks."""
        clicks = [self.click(at) for at in range(CLICKS_OF_A_GROUP)]
        for click, arrived in clicks:
            self.send_click(click, arrived)
        if not orders:
            return
        self.send_set_entries()
        self.send_links()
        versions = self.order_versions([click for click, _ in clicks])
        self.chooser.shuffle(versions)
        for version in versions + versions[:self.chooser.randrange(2)]:
            self.send("orders", version["order_id"], version, self.paid, None)
