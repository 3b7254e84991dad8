"""A buyer in a headless Chromium, the shop of deploy/shop, and 15 days on clocks that are moved. See shop_browser.sh.

The programs are the real ones: `waypost serve` behind TLS, deploy/shop/shop.py, `waypost attribute`. Time is moved by the clock
library of the tests, which both servers are started with; the browser keeps the machine's own time, as a phone whose owner never
closes a tab. Each buyer taps a link on day 0, and buys on day 13 and on day 15.
"""
import argparse
import http.client
import json
import os
import pathlib
import ssl
import struct
import subprocess
import sys
import time

import harness
from harness import HOST, Failure, Process, say
from outside import browser as web
from outside import site as outside_site

DAY_MS = 86_400_000
SHOP_KEYS = ("--seller", "s_311")
#: Where the shop is → its host, the product of its link, and its creator.
PLACES = {"on the links' site": ("shop.example.com", "p_tea", "c_an"), "on another site": ("shop.example.org", "p_cup", "c_binh"),
          "as an app": (None, "p_tea", "c_chi")}
RATE_BP, PRICE = 1200, {"p_tea": 100_000, "p_cup": 30_000}


class Clock:
    """The clock library of tests/it/clock: a file that holds the offset in nanoseconds, and its complement."""

    def __init__(self, directory):
        self.library, self.file = directory / "clock.so", directory / "offset"
        source = harness.ROOT / "tests/it/clock/shim.c"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self.library, source, "-lpthread"], check=True)
        self.set_days(0)

    def set_days(self, days):
        offset = int(days * DAY_MS) * 1_000_000
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=qq", offset, ~offset))
        self.days = days

    def env(self):
        return {"LD_PRELOAD": str(self.library), "WAYPOST_TEST_CLOCK": str(self.file)}

    def now_ms(self):
        return time.time_ns() // 1_000_000 + int(self.days * DAY_MS)


class Scene:
    """Waypost and the shop, both on the moved clock and behind the same test certificate."""

    def __init__(self, binary, directory):
        self.binary, self.directory, self.clock = binary, directory, Clock(directory)
        outside_site.make_certificates(directory)
        self.tls, self.plain, self.admin, self.shop_port = (harness.free_port() for _ in range(4))
        self.data, self.orders = directory / "data", directory / "shop-data/orders.jsonl"
        self.write_links()
        self.waypost = Process("waypost", [binary, "serve", "--config", "waypost.toml"], os.sched_getaffinity(0),
                               directory / "waypost.log", env=self.clock.env(), cwd=directory)
        self.waypost.wait_until(lambda: (harness.get(self.admin, "/readyz") or (0,))[0] == 200, "is ready", 60)
        subprocess.run([binary, "keys", "export", "--data-dir", self.data, *SHOP_KEYS, "--out", directory / "shop.json"],
                       check=True, stdout=subprocess.DEVNULL)
        program = harness.ROOT / "deploy/shop/shop.py"
        self.shop = Process("shop", [
            sys.executable, program, "--keys", "shop.json", "--directory", "shop-data", "--listen", f"{HOST}:{self.shop_port}",
            "--tls", "chain.pem", "leaf.key"], os.sched_getaffinity(0), directory / "shop.log", env=self.clock.env(), cwd=directory)
        self.context = ssl.create_default_context(cafile=directory / "ca.pem")
        self.shop.wait_until(self.shop_answers, "answers", 30)

    def write_links(self):
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        links = []
        for place, (host, product, creator) in PLACES.items():
            url = f"https://{host or 'shop.example.com'}:{self.shop_port}/view/{product}"
            links.append({"code": code_of(place), "domain": "go.example.com", "url": url, "kind": "product", "creator": creator,
                          "creator_type": "affiliate", "seller": "s_311", "product": product, "plan": "open", "rate_bp": RATE_BP,
                          "created_at": created})
        (self.directory / "links.jsonl").write_text("".join(json.dumps(link) + "\n" for link in links))
        (self.directory / "waypost.toml").write_text(f"""
[server]
data_dir = "data"
[edge]
listen = [{{ address = "{HOST}:{self.tls}", tls = true, http2 = true }}, "{HOST}:{self.plain}"]
[tls]
certificates = [{{ cert = "chain.pem", key = "leaf.key" }}]
[admin]
listen = "{HOST}:{self.admin}"
[links]
file = "links.jsonl"
[domains."go.example.com"]
cookie_domain = "example.com"
app_resolves = true
""")

    def shop_answers(self):
        try:
            return self.ask_shop("GET", "/view/p_tea")[0] == 200
        except OSError:
            return False

    def ask_shop(self, method, path, body=None):
        connection = http.client.HTTPSConnection("localhost", self.shop_port, timeout=10, context=self.context)
        connection.request(method, path, body and json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def row_of(self, order_id, as_of_ms):
        """The row of `waypost attribute` for an order. A cookie is verified by the ring of the data directory."""
        words = [self.binary, "attribute", "--data-dir", self.data, "--orders", self.orders, "--as-of", str(as_of_ms), "--json"]
        ran = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **self.clock.env()})
        if ran.returncode:
            raise Failure(f"waypost attribute: {ran.stderr}")
        return next(row for row in map(json.loads, ran.stdout.splitlines()) if row["order_id"] == order_id)


def code_of(place):
    return f"link-{list(PLACES).index(place)}"


def tap_in_browser(scene, browser, place):
    """A post with the link, a tap, and the shop's page."""
    host, product, _ = PLACES[place]
    link = f"https://go.example.com:{scene.tls}/{code_of(place)}"
    browser.open(f"data:text/html,<a id=link href={link}>{product}</a>")
    return browser.tap("link", f"https://{host}:{scene.shop_port}/view/{product}")


def buy_in_browser(scene, browser, place):
    """Opens the shop without any link, and buys. Returns the order's id."""
    host, product, _ = PLACES[place]
    browser.open(f"https://{host}:{scene.shop_port}/view/{product}")
    browser.tap("buy", f"https://{host}:{scene.shop_port}/order")
    return browser.call_driver("POST", "/execute/sync", {"script": "return document.getElementById('order').innerText", "args": []})


def tap_in_app(scene):
    """The app asks the link itself, and sends the token to the shop's server."""
    connection = http.client.HTTPConnection(HOST, scene.plain, timeout=10)
    connection.request("GET", f"/{code_of('as an app')}", headers={
        "Host": "go.example.com", "Accept": "application/vnd.waypost.click+json", "User-Agent": "ExampleShop/7.2 (iPhone; iOS 17.5.1)"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise Failure(f"the app was answered {answer.status}: {body}")
    scene.ask_shop("POST", "/app/land", {"account": "b_app", "click_token": json.loads(body)["click_token"]})


def buy_in_app(scene):
    return json.loads(scene.ask_shop("POST", "/app/order", {"account": "b_app", "product": "p_tea", "quantity": 1})[1])["order_id"]


def play(scene, browser):
    """Place → day → order."""
    scene.clock.set_days(0)
    landed = {place: tap_in_browser(scene, browser, place) for place in PLACES if PLACES[place][0]}
    tap_in_app(scene)
    orders = {place: {} for place in PLACES}
    for day in (13, 15):
        scene.clock.set_days(day)
        for place in PLACES:
            orders[place][day] = buy_in_browser(scene, browser, place) if PLACES[place][0] else buy_in_app(scene)
    scene.clock.set_days(16)
    for of_place in orders.values():
        for order_id in of_place.values():
            status, said = scene.ask_shop("POST", "/delivered", {"order_id": order_id})
            if status != 200:
                raise Failure(f"the shop answers a delivery {status}: {said}")
    return landed, orders


def check(scene, landed, orders):
    """What the rules say of each order, and what was found: lines of (claim, whether it is so, what was seen)."""
    same = landed["on the links' site"]
    yield "on the links' site the URL has no token: the cookie reaches the shop", "wp=" not in same, same
    yield "on another site the URL has the token", "?wp=v1." in landed["on another site"], landed["on another site"]
    delivered = scene.clock.now_ms()
    for place, (_, product, creator) in PLACES.items():
        commission = PRICE[product] * RATE_BP // 10_000
        for days, state in ((0, "pending"), (14, "confirmed"), (21, "payable")):
            row = scene.row_of(orders[place][13], delivered + days * DAY_MS)
            seen = row["state"], row["reason"], row.get("creator_id"), row["commission_minor"]
            yield (f"{place}, bought on day 13: {state} {days} days after delivery, {commission} {row['currency']} for {creator}",
                   seen == (state, "last_click", creator, commission), seen)
        row = scene.row_of(orders[place][15], delivered + 21 * DAY_MS)
        seen = row["state"], row["reason"], row.get("creator_id"), row["commission_minor"]
        yield f"{place}, bought on day 15: nobody earns", seen == ("rejected", "click_over_14_days", None, 0), seen


def main():
    parser = argparse.ArgumentParser(description="A buyer in a browser, the shop, and 15 days.")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    directory = harness.scratch_dir()
    scene = Scene(os.environ["WAYPOST_BIN"], directory)
    say("Chromium")
    browser = web.Browser(directory)
    try:
        landed, orders = play(scene, browser)
    finally:
        browser.close()
    said = list(check(scene, landed, orders))
    text = "".join(f"{'yes' if right else 'NO '} {claim}\n" for claim, right, _ in said)
    if wrong := [f"{claim}: saw {seen}" for claim, right, seen in said if not right]:
        raise Failure("\n".join([text, *wrong]))
    harness.keep(options.name, text, {"setup": harness.setup(scene.binary), "browser": browser.version,
                                        "said": [claim for claim, _, _ in said]})


if __name__ == "__main__":
    harness.run(main)
