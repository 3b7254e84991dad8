"""A small shop that keeps the tokens of its buyers and sends them with each order. Python 3.9 or later, without other packages.

    waypost keys export --seller s_311 --out shop.json      # on the edge; the file is secret
    python3 shop.py --keys shop.json --directory shop-data --listen 127.0.0.1:8000

    GET  /view/PRODUCT?wp=TOKEN        a buyer lands: tokens are verified and stored, with the time and the buyer
    POST /order                        the buyer orders PRODUCT (form: product, quantity): a line in shop-data/orders.jsonl
    POST /app/land                     the shop's app sends {"account":A,"click_token":TOKEN} that a link's answer gave it
    POST /app/order                    the shop's app orders: {"account":A,"product":P,"quantity":N}
    POST /delivered                    the courier delivered {"order_id":O}: a later version of the order

A token comes in the parameter `wp` of the landing's URL, or in the cookie `wp` where links and shop share a site. The shop
verifies URL tokens by its own keys; a cookie is for the payer's key ring, so it is stored and sent as it came. The buyer is
the cookie `buyer` of the shop's own, or the account of the app. Each order has every token that landed in the last 30 days:
more than the 14 that count, since the payer judges the age.
"""
import argparse
import html
import http.cookies
import http.server
import json
import pathlib
import secrets
import sqlite3
import ssl
import threading
import time
import urllib.parse

import verify_token

SELLER = "s_311"
#: Product → price in minor units.
PRICES = {"p_tea": 100_000, "p_cup": 30_000}
CURRENCY = "VND"
YEAR_SECONDS = 365 * 24 * 3600
SENT_MS = 30 * verify_token.DAY_MS
PAGE = """<!doctype html><title>{product}</title><h1>{product}</h1><p>{price} {currency}
<form method=post action=/order><input type=hidden name=product value={product}><input type=hidden name=quantity value=1>
<button id=buy>Buy</button></form>"""


class Store:
    """Tokens by buyer, and the versions of orders; survives a restart. All times are milliseconds since the epoch."""

    def __init__(self, directory, keys):
        directory.mkdir(parents=True, exist_ok=True)
        self.keys, self.orders = keys, directory / "orders.jsonl"
        self.lock = threading.Lock()
        self.database = sqlite3.connect(directory / "tokens.sqlite", check_same_thread=False)
        self.database.execute("CREATE TABLE IF NOT EXISTS landing (buyer TEXT, token TEXT, sent TEXT, landed_at_ms INTEGER,"
                              " PRIMARY KEY (buyer, token))")

    def land(self, buyer, kind, token):
        """Stores a token with what the verification says of it now: keys retire. The first landing counts."""
        now = now_ms()
        claims = verify_token.verify_token(self.keys, token, now) if kind == "url" else {"token": token}
        sent = verify_token.landed(claims, now, buyer)
        with self.lock, self.database:
            self.database.execute("INSERT OR IGNORE INTO landing VALUES (?, ?, ?, ?)", (buyer, token, json.dumps(sent), now))

    def order(self, buyer, product, quantity):
        """Writes the first version of an order, with every token that landed in time, not only the newest."""
        now = now_ms()
        with self.lock:
            landed = self.database.execute("SELECT sent FROM landing WHERE buyer = ? AND landed_at_ms > ? ORDER BY landed_at_ms",
                                           (buyer, now - SENT_MS)).fetchall()
        line = {"line_id": "1", "seller_id": SELLER, "product_id": product, "quantity": quantity,
                "value_minor": PRICES[product] * quantity, "currency": CURRENCY}
        order = {"order_id": f"o_{secrets.token_hex(8)}", "updated_at_ms": now, "buyer_id": buyer, "paid_at_ms": now,
                 "click_tokens": [json.loads(sent) for sent, in landed], "lines": [line]}
        self.write(order)
        return order

    def deliver(self, order_id):
        """Writes the next version of an order: delivered now."""
        versions = [json.loads(line) for line in self.orders.read_text().splitlines()]
        last = max((one for one in versions if one["order_id"] == order_id), key=lambda one: one["updated_at_ms"])
        self.write({**last, "updated_at_ms": now_ms(), "completed_at_ms": now_ms()})

    def write(self, order):
        with self.lock, open(self.orders, "a", encoding="utf-8") as file:
            file.write(json.dumps(order) + "\n")


def now_ms():
    return time.time_ns() // 1_000_000


class Page(http.server.BaseHTTPRequestHandler):
    """The answers of the shop. `store` is set by `serve`."""
    store = None

    def do_GET(self):
        path, _, query = self.path.partition("?")
        product = path.rpartition("/")[2]
        if product not in PRICES:
            return self.answer(404, "text/html", "<!doctype html><title>not found</title>")
        cookies = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        buyer = cookies["buyer"].value if "buyer" in cookies else f"b_{secrets.token_hex(8)}"
        for token in urllib.parse.parse_qs(query).get("wp", []):
            self.store.land(buyer, "url", token)
        if "wp" in cookies:
            self.store.land(buyer, "cookie", cookies["wp"].value)
        page = PAGE.format(product=html.escape(product), price=PRICES[product], currency=CURRENCY)
        own = f"buyer={buyer}; Max-Age={YEAR_SECONDS}; Path=/; HttpOnly; SameSite=Lax"
        self.answer(200, "text/html", page, [("Set-Cookie", own)])

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            if self.path == "/order":
                buyer = http.cookies.SimpleCookie(self.headers["Cookie"])["buyer"].value
                form = urllib.parse.parse_qs(body)
                order = self.store.order(buyer, form["product"][0], int(form["quantity"][0]))
                self.answer(200, "text/html", f"<!doctype html><title>thank you</title><p id=order>{order['order_id']}")
            elif self.path == "/app/land":
                said = json.loads(body)
                self.answer(200, "application/json", json.dumps(self.store.land(said["account"], "url", said["click_token"])))
            elif self.path == "/app/order":
                said = json.loads(body)
                order = self.store.order(said["account"], said["product"], said["quantity"])
                self.answer(200, "application/json", json.dumps({"order_id": order["order_id"]}))
            elif self.path == "/delivered":
                self.answer(200, "application/json", json.dumps(self.store.deliver(json.loads(body)["order_id"])))
            else:
                self.answer(404, "text/plain", "not found")
        except (KeyError, ValueError, TypeError) as mistake:
            self.answer(400, "text/plain", f"the request lacks something or has a wrong value: {mistake}")

    def answer(self, status, kind, body, headers=()):
        data = body.encode()
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def serve(store, address, certificate=None):
    """Serves the shop; with `certificate` (chain, key) over TLS. Returns the running server."""
    server = http.server.ThreadingHTTPServer(address, type("ShopPage", (Page,), {"store": store}))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main():
    parser = argparse.ArgumentParser(description="A small shop that keeps the tokens of its buyers.")
    parser.add_argument("--keys", required=True, help="the file that `waypost keys export --seller` wrote")
    parser.add_argument("--directory", required=True, type=pathlib.Path, help="tokens.sqlite and orders.jsonl")
    parser.add_argument("--listen", default="127.0.0.1:8000", help="ADDRESS:PORT (127.0.0.1:8000)")
    parser.add_argument("--tls", nargs=2, metavar=("CHAIN", "KEY"), help="certificate chain and key, to serve https")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    store = Store(options.directory, verify_token.load_keys(options.keys))
    serve(store, (host, int(port)), options.tls).serve_forever()


if __name__ == "__main__":
    main()
