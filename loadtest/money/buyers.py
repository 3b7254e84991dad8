"""Buyers: phones with apps, each with a cookie jar, that tap links of real edges and tap again where no answer came."""
import dataclasses
import http.client
import json
import random
import threading
import time
import urllib.parse

import harness
from money import world

#: How long a buyer tries to get an answer, seconds. An edge is back after a few.
PATIENCE = 300


@dataclasses.dataclass
class Tap:
    """An answered tap: what the buyer and the shop saw of it. `claims` is what the tool said of the token or the cookie."""
    buyer: str
    link: world.Link
    jar: "Jar"
    sent_ms: int
    received_ms: int
    tokens: list
    claims: dict = None


@dataclasses.dataclass
class Jar:
    """The cookies of one app, by host."""
    app: str
    gpc: bool
    cookies: dict = dataclasses.field(default_factory=dict)
    taps: list = dataclasses.field(default_factory=list)


class Buyer:
    """An account of the shop, with one to three apps on one phone."""

    def __init__(self, number, chooser, edges):
        self.account, self.chooser, self.edges = f"b_{number}", chooser, edges
        apps = chooser.sample(sorted(world.APPS), chooser.choice((1, 1, 2, 3)))
        self.jars = [Jar(app, gpc=app != "shop-app" and chooser.random() < 0.1) for app in apps]
        self.unanswered = 0

    def tap(self, link):
        """Taps until an edge answers. The taps that were not answered may be recorded or not: the answered one is later."""
        jar = self.chooser.choice(self.jars)
        headers = {**world.APPS[jar.app], **({"Sec-GPC": "1"} if jar.gpc else {})}
        deadline = time.monotonic() + PATIENCE
        while True:
            sent = time.time_ns() // 1_000_000
            answer = ask(self.chooser.choice(self.edges), link, {**headers, **cookie_header(jar, link)})
            received = time.time_ns() // 1_000_000
            if answer:
                break
            self.unanswered += 1
            if time.monotonic() > deadline:
                raise harness.Failure(f"{self.account}: no edge answered /{link.code} in {PATIENCE} s")
            time.sleep(0.2)
        status, fields, body = answer
        tokens = self.take_tokens(jar, link, status, fields, body)
        tap = Tap(self.account, link, jar, sent, received, tokens)
        if tokens:
            jar.taps.append(tap)
        return tap

    def take_tokens(self, jar, link, status, fields, body):
        """The token of the URL or the app's answer, and the cookie where the shop's host receives it."""
        if jar.app == "shop-app":
            if status == 410:
                return []
            if status != 200:
                raise harness.Failure(f"/{link.code} answered an app {status}: {body[:200]}")
            return [json.loads(body)["click_token"]]
        if status != 302:
            raise harness.Failure(f"/{link.code} answered {status}: {body[:200]}")
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(fields["location"]).query)
        tokens = query.get("wp", [])
        if "set-cookie" in fields:
            pair, _, rest = fields["set-cookie"].partition(";")
            if "max-age=0" in rest.lower():
                jar.cookies.pop(link.domain, None)
            else:
                jar.cookies[link.domain] = pair
                if link.domain == world.SAME_SITE:
                    tokens = [*tokens, pair.partition("=")[2]]
        return tokens

    def make_noise(self, link):
        """A request that must earn nothing: a preview fetcher, an image of the link, a HEAD, a prefetch."""
        jar = self.chooser.choice(self.jars)
        kind = self.chooser.choice(("preview", "image", "head", "prefetch"))
        headers = {**world.APPS["safari"], **cookie_header(jar, link)}
        if kind == "preview":
            headers = world.PREVIEW
        elif kind == "image":
            headers |= {"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}
        elif kind == "prefetch":
            headers |= {"Sec-Purpose": "prefetch"}
        ask(self.chooser.choice(self.edges), link, headers, "HEAD" if kind == "head" else "GET")


def cookie_header(jar, link):
    cookie = jar.cookies.get(link.domain)
    return {"Cookie": cookie} if cookie and jar.app != "shop-app" else {}


def ask(edge, link, headers, method="GET"):
    """Status, headers and body; None if the edge is away or dies before its whole answer came."""
    connection = http.client.HTTPConnection(harness.HOST, edge.port, timeout=20)
    host = link.domain if link.domain != world.ANY_HOST else "any.example.net"
    try:
        connection.request(method, f"/{link.code}", headers={"Host": host, **headers})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Crowd:
    """Threads of buyers, until `stop`. Each buyer taps one to five links and then orders."""

    def __init__(self, scene, edges, shop, threads, pause):
        self.world, self.edges, self.shop, self.pause = scene, edges, shop, pause
        self.lock, self.stopping, self.number = threading.Lock(), threading.Event(), 0
        self.taps, self.unanswered, self.failure = [], 0, None
        self.threads = [threading.Thread(target=self.run, args=(seed,), daemon=True) for seed in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, seed):
        chooser = random.Random(seed)
        try:
            while not self.stopping.is_set():
                with self.lock:
                    self.number += 1
                    number = self.number
                self.live(Buyer(number, chooser, self.edges))
                self.stopping.wait(chooser.random() * self.pause)
        except Exception as failure:  # the run ends with it: see `check`
            self.failure = failure

    def live(self, buyer):
        taps = []
        for _ in range(buyer.chooser.choice((0, 1, 1, 2, 2, 3, 4, 5))):
            if buyer.chooser.random() < 0.15:
                buyer.make_noise(buyer.chooser.choice(self.world.links))
            taps.append(buyer.tap(buyer.chooser.choice(self.world.links)))
            time.sleep(0.002)  # two taps of one finger are not in one millisecond
        self.shop.sell(buyer, taps)
        with self.lock:
            self.taps += taps
            self.unanswered += buyer.unanswered

    def check(self):
        if self.failure:
            raise harness.Failure(f"a buyer failed: {self.failure!r}") from self.failure

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE + 60)
        self.check()
