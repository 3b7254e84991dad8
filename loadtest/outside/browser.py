"""Headless Chromium, driven by chromedriver over WebDriver: a person who taps two links on a page of another site, over TLS.

The names are real ones (go., shop. and social.example.com, mapped to this machine by a flag), the certificate is trusted through the
browser's own store, nothing about security is switched off but the sandbox. The agent string is a phone's: as a headless browser it
would rightly be called a bot. Asked in this order: an image of a link and a link prefetched are no sale; the tap on the prefetched link
arrives at the shop's page with a token; the browser's own store has the cookie with the promised attributes; the next tap presents it.
"""
import http.client
import http.server
import json
import os
import re
import ssl
import threading
import time

import harness
from harness import HOST, Failure, Process
from outside.findings import Finding, Outcome
from outside.site import run

SHOP_PORT = harness.free_port()
SHOP = f"https://shop.example.com:{SHOP_PORT}"
AGENT = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Mobile Safari/537.36"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that WebDriver gives a reference to an element
FORTNIGHT = 14 * 24 * 3600
PAGE = """<!doctype html><title>a post</title>{more}<p><a id=tea href="{go}/tea">tea</a> <a id=cup href="{go}/cup">cup</a>"""


def serve_pages(site):
    """One server for the shop and for the post with the links; the host's name tells which."""
    go = f"https://go.example.com:{site.tls}"
    more = {"/post": "", "/prefetch": f'<link rel=prefetch href="{go}/tea">', "/image": f'<img src="{go}/pot">'}

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            social = self.headers["Host"].startswith("social.")
            path = self.path.split("?")[0]
            page = PAGE.format(go=go, more=more.get(path, "")) if social else f"<!doctype html><title>shop</title>{path}"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((HOST, SHOP_PORT), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.directory / "chain.pem", site.directory / "leaf.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Browser:
    """One session of WebDriver (W3C): JSON over HTTP."""

    def __init__(self, directory):
        home, port = directory / "home", harness.free_port()
        store = home / ".pki" / "nssdb"
        store.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-n", "test", "-t", "C,,", "-i", directory / "ca.pem"]):
            status, printed = run(["certutil", *words, "-d", f"sql:{store}"], 30)
            if status:
                raise Failure(f"certutil: {printed}")
        self.version = re.search(r"Chromium ([\d.]+)", run(["chromium", "--version"], 30, env={"HOME": str(home)})[1])[1]
        self.driver = Process("chromedriver", ["chromedriver", f"--port={port}"], os.sched_getaffinity(0),
                              directory / "chromedriver.log", env={"HOME": str(home)})
        self.port, self.session = port, ""
        self.driver.wait_until(lambda: harness.get(port, "/status"), "answers", 30)
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={directory / 'profile'}",
                     f"--user-agent={AGENT.format(self.version)}", f"--host-resolver-rules=MAP *.example.com {HOST}, MAP *.example.org {HOST}"]
        made = self.call_driver("POST", "", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments}}}})
        self.session = f"/{made['sessionId']}"

    def call_driver(self, method, path, body=None):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        connection.request(method, f"/session{self.session}{path}", json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        value = json.loads(answer.read())["value"]
        connection.close()
        if answer.status != 200:
            raise Failure(f"chromedriver: {method} {path}: {value['error']}: {value['message'][:300]}")
        return value

    def open(self, url):
        self.call_driver("POST", "/url", {"url": url})

    def tap(self, id, until):
        """Clicks the link as a person does; waits for a page whose address begins with `until`, and returns it."""
        element = self.call_driver("POST", "/element", {"using": "css selector", "value": f"#{id}"})
        self.call_driver("POST", f"/element/{element[ELEMENT]}/click", {})
        return self.driver.wait_until(
            lambda: next((url for url in [self.call_driver("GET", "/url")] if url.startswith(until)), None), f"arrives at {until}", 20)

    def cookies(self):
        """The whole store, as the browser's own tool for developers shows it."""
        return self.call_driver("POST", "/goog/cdp/execute", {"cmd": "Storage.getCookies", "params": {}})["cookies"]

    def close(self):
        self.call_driver("DELETE", "")
        self.driver.stop()


def visit(browser, site, social):
    """The story: name → whether it is so, and what was seen."""
    def seen(count):
        return site.clicks(count)[count - 1]

    browser.open(f"{social}/image")
    event = seen(1)
    yield "an image of a link is no sale and gets no token", (
        event["class"], event["countable"], event["cookie_set"], event["token_placed"]) == ("non_navigation", False, False, False), event
    browser.open(f"{social}/prefetch")
    event = seen(2)
    yield "a prefetch is refused with 503 and is no sale", (
        event["outcome"], event["status"], event["class"], event["countable"], event["cookie_set"]) == (
            "refused_prefetch", 503, "prefetch", False, False), event
    yield "neither left a cookie", not browser.cookies(), browser.cookies()

    url, tapped = browser.tap("tea", f"{SHOP}/tea"), time.time()
    yield "the tap on what was prefetched arrives at the shop's page with a token", "?wp=v1." in url, url
    body = browser.call_driver("POST", "/execute/sync", {"script": "return document.body.innerText", "args": []})
    yield "the page is the shop's", body == "/tea", body
    cookies = browser.cookies()
    cookie = cookies[0] if cookies else {}
    yield "the browser keeps one cookie, of the link's host alone", (
        len(cookies), cookie.get("name"), cookie.get("domain"), cookie.get("path")) == (1, "__Host-wp", "go.example.com", "/"), cookies
    yield "it is HttpOnly, Secure and SameSite=Lax", (
        cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (True, True, "Lax"), cookie
    yield "it ends in 14 days", abs(cookie.get("expires", 0) - tapped - FORTNIGHT) < 60, cookie
    first = seen(3)
    yield "the tap is a sale's first click: a person's, over HTTP/1.1, which comes first by ALPN", (
        first["class"], first["countable"], first["cookie_set"], first["token_placed"], first["http_version"]) == (
            "human", True, True, True, "1.1"), first
    yield "it knows none before it", "previous_click_id" not in first and first["visitor_new"], first

    browser.open(f"{social}/post")
    url = browser.tap("cup", f"{SHOP}/cup")
    second = seen(4)
    yield "the next tap presents the cookie: the journal names the first click", (
        second["cookie_state"], second.get("previous_click_id"), second.get("previous_code")) == (
            "valid", first["click_id"], "tea"), second
    yield "it is the same visitor's, and counts too", (
        second["visitor_id"], second["visitor_new"], second["countable"]) == (first["visitor_id"], False, True), second
    renewed = browser.cookies()
    yield "the cookie is the last click's now", len(renewed) == 1 and renewed[0]["value"] != cookie.get("value"), renewed


def chromium(site):
    pages = serve_pages(site)
    browser = Browser(site.directory)
    try:
        said = list(visit(browser, site, f"https://social.example.com:{SHOP_PORT}"))
    finally:
        browser.close()
        pages.shutdown()
    lines = [f"{'yes' if right else 'NO '} {name}" for name, right, _ in said]
    return Outcome(f"Chromium {browser.version}", len(said),
                   [Finding(name, "high", f"saw {seen}") for name, right, seen in said if not right],
                   lines, {"events": site.clicks(4), "said": [(name, right) for name, right, _ in said]})
