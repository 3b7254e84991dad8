"""The landing pages in a headless Chromium, as a phone and as a desktop, with script and without. See landing_pages.sh.

The server is the real one, on plain http: 127.0.0.1 is its host and that of the shop. No app is installed, so nothing answers
`intent:`, `x-safari-https:` or `exampleshop:`; what the pages then do is what is checked.
"""
import argparse
import base64
import http.server
import json
import os
import pathlib
import threading
import time

import harness
from harness import HOST, Failure, Process, Waypost, say
from outside import browser as web
from outside.site import run

FACEBOOK = ("Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UD1A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 "
            "Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.35.107;]")
WECHAT = ("Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile "
          "Safari/537.36 MicroMessenger/8.0.50")
IPHONE = ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 "
          "Safari/604.1")
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
#: Each kind of page → the link's code and the agent that gets it.
PAGES = {"leaves by itself": ("mug", FACEBOOK), "says how": ("mug", WECHAT), "tries the app": ("app", IPHONE)}
#: Pages in English alone → the path. `off` is switched off, nobody has `nobody`.
SMALL_PAGES = {"about a link": "mug+", "about a long link": "long+", "unknown code": "nobody", "not available": "off", "front page": ""}
#: What the browser asks for → the language of the page.
LANGUAGES = {**{tag: tag for tag in ("en", "ar", "de", "es", "fr", "hi", "id", "ja", "ko", "pt", "th", "vi")},
             "zh-CN": "zh-Hans", "zh-TW": "zh-Hant", "ca-ES,es;q=0.9": "es"}
#: CSS pixels. A finger needs 44 (Apple's guidelines; WCAG 2.2 asks for 24). The half of a narrow screen is the same one at 200 %.
NARROW, ZOOMED, WIDE, FINGER = (320, 568), (160, 284), (1280, 800), 44
#: The least contrast of a text (WCAG 2.2, AAA).
CONTRAST = 7
#: What a page looks like.
LOOK = """
    const channels = colour => colour.match(/[0-9.]+/g).map(Number)
    const light = colour => {
        const [red, green, blue] = channels(colour).map(part => (part /= 255) <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        return .2126 * red + .7152 * green + .0722 * blue + .05
    }
    const behind = element => [...function*() { for (; element; element = element.parentElement) yield element }()]
        .map(element => getComputedStyle(element).backgroundColor).find(colour => channels(colour)[3] !== 0)
    const texts = [...document.querySelectorAll('h1,p,dt,dd,a')]
    const contrasts = texts.map(text => light(getComputedStyle(text).color) / light(behind(text))).map(ratio => Math.max(ratio, 1 / ratio))
    const root = document.documentElement
    document.links[0]?.focus({focusVisible: true})
    return {lang: root.lang, dir: root.dir, overflow: root.scrollWidth - root.clientWidth, contrast: Math.min(...contrasts),
        heights: [...document.links].map(link => link.getBoundingClientRect().height), violations: window.violations || [],
        outline: document.links.length ? parseFloat(getComputedStyle(document.links[0]).outlineWidth) : null,
        mains: document.querySelectorAll('main').length, style: getComputedStyle(document.body).maxWidth}"""


class Phone(web.Browser):
    """A browser whose agent, size, colours and script are changed page by page."""

    def __init__(self, directory):
        home, self.port, self.session = directory / "home", harness.free_port(), ""
        home.mkdir()
        self.driver = Process("chromedriver", ["chromedriver", f"--port={self.port}"], os.sched_getaffinity(0),
                              directory / "chromedriver.log", env={"HOME": str(home)})
        self.driver.wait_until(lambda: harness.get(self.port, "/status"), "answers", 30)
        self.version = run(["chromium", "--version"], 30, env={"HOME": str(home)})[1].strip()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                     "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={directory / 'profile'}"]
        made = self.call_driver("POST", "", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments}}}})
        self.session = f"/{made['sessionId']}"

    def command(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self.call_driver("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def dress(self, agent, language="en", size=NARROW, scheme="light", script=True):
        self.command("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.command("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=2, mobile=agent != DESKTOP)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.command("Emulation.setScriptExecutionDisabled", value=not script)

    def url(self):
        return self.call_driver("GET", "/url")

    def say(self, expression):
        return self.call_driver("POST", "/execute/sync", {"script": f"return {expression}", "args": []})

    def look(self):
        return self.call_driver("POST", "/execute/sync", {"script": LOOK, "args": []})

    def visit(self, url):
        """Opens the page anew: Chromium takes a second visit in a row as a reload."""
        self.open("about:blank")
        self.open(url)

    def follow(self, id, until):
        """Follows the link by the driver's script: what Chromium asks about an unknown scheme takes every touch. Waits for a page whose
        address begins with `until`, and returns it."""
        self.say(f"document.getElementById('{id}').click()")
        return self.arrives(until)

    def arrives(self, start, seconds=10):
        return self.driver.wait_until(lambda: next((url for url in [self.url()] if url.startswith(start)), None), f"arrives at {start}", seconds)

    def photograph(self, path):
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", captureBeyondViewport=False)["data"]))


def serve_shop():
    class Shop(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            page = b"<!doctype html><title>shop</title>the shop"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((HOST, 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{HOST}:{server.server_port}"


def serve_links(directory, shop):
    created = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
    link = {"url": f"{shop}/view?a=1&b=2", "kind": "plain", "created_at": created}
    app = {"targets": [{"when": {"os": ["android", "ios"]}, "url": "exampleshop://product/mug"}]}
    links = directory / "links.jsonl"
    long = {"url": f"https://{'a-long-name.' * 15}example.com/{'and-a-long-path/' * 20}"}
    records = [{"code": "mug", **link}, {"code": "app", **link, **app}, {"code": "long", **link, **long}, {"code": "off", **link, "enabled": False}]
    links.write_text("".join(json.dumps(record) + "\n" for record in records))
    (directory / "waypost.toml").write_text(
        f'[domains."*"]\nin_app = "open_outside"\nshop_url = "{shop}/"\n[links]\napp_schemes = ["exampleshop"]\n')
    return Waypost(os.environ["WAYPOST_BIN"], directory, links, os.sched_getaffinity(0), args=["--config", directory / "waypost.toml"]).ready()


def check_pages(phone, go, shop):
    """What each page does: lines of (claim, whether it is so, what was seen)."""
    arrived = f"{shop}/view?a=1&b=2&wp=v1."
    phone.dress(FACEBOOK)
    phone.visit(f"{go}/mug")
    time.sleep(2)
    yield "in an app the page tries its link once, and stays", (phone.say("history.state"), phone.url()) == ("tried", f"{go}/mug"), phone.url()
    open_url = phone.say("document.getElementById('open').href")
    yield "the link is the destination's intent", open_url.startswith("intent://") and ";S.browser_fallback_url=http%3A%2F%2F" in open_url, open_url
    yield "the way on arrives at the shop with the token", phone.follow("web", arrived).startswith(arrived), phone.url()

    phone.dress(WECHAT)
    phone.visit(f"{go}/mug")
    yield "a page that says how has no script", phone.say("document.scripts.length") == 0, phone.say("document.scripts.length")
    yield "its way on arrives at the shop", phone.follow("web", arrived).startswith(arrived), phone.url()

    phone.dress(IPHONE)
    begun = time.monotonic()
    phone.visit(f"{go}/app")
    phone.arrives(arrived)
    took = time.monotonic() - begun
    yield "without the app the page goes to the web after 1.2 s", 1.2 <= took < 6, took

    # A reload is a page that has tried already.
    phone.dress(IPHONE, script=False)
    phone.visit(f"{go}/app")
    phone.command("Emulation.setScriptExecutionDisabled", value=False)
    phone.say("history.replaceState('tried','')")
    phone.call_driver("POST", "/refresh", {})
    time.sleep(2.5)
    yield "a buyer who comes back is not sent away again", phone.url() == f"{go}/app", phone.url()

    hide = ("Object.defineProperty(document,'hidden',{get:()=>window.isHidden||false});"
            "setTimeout(()=>{window.isHidden=true;document.dispatchEvent(new Event('visibilitychange'))},300)")
    added = phone.command("Page.addScriptToEvaluateOnNewDocument", source=hide)
    phone.visit(f"{go}/app")
    time.sleep(2.5)
    yield "a page that the app hides does not go to the web", phone.url() == f"{go}/app", phone.url()
    phone.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])

    for name, (code, agent) in PAGES.items():
        phone.dress(agent, script=False)
        phone.visit(f"{go}/{code}")
        time.sleep(2)
        yield f"without script the page stays: {name}", phone.url() == f"{go}/{code}", phone.url()
        yield f"and its link works: {name}", phone.follow("web", arrived).startswith(arrived), phone.url()

    phone.dress(DESKTOP, size=WIDE)
    for code in ("mug", "app"):
        phone.visit(f"{go}/{code}")
        yield f"a desktop is redirected: {code}", phone.url().startswith(arrived), phone.url()


def check_looks(phone, go, shots):
    """What is readable, for eyes, fingers and screen readers, in every language."""
    watch = "addEventListener('securitypolicyviolation',event=>(window.violations=window.violations||[]).push(event.violatedDirective))"
    phone.command("Page.addScriptToEvaluateOnNewDocument", source=watch)
    for name, (code, agent) in PAGES.items():
        wrong = []
        for asked, language in LANGUAGES.items():
            phone.dress(agent, asked)
            phone.visit(f"{go}/{code}")
            seen = phone.look()
            tree = phone.command("Accessibility.getFullAXTree")["nodes"]
            roles = [node["role"]["value"] for node in tree if not node.get("ignored") and node.get("name", {}).get("value")]
            links = 1 if name == "says how" else 2
            right = (seen["lang"] == language and seen["dir"] == ("rtl" if language == "ar" else "ltr") and looks_right(seen)
                     and roles.count("link") == links and roles.count("heading") == 1)
            if not right:
                wrong.append((asked, seen, roles))
        yield f"on 320 pixels in {len(set(LANGUAGES.values()))} languages each link is named and a finger high, and nothing sticks out: {name}", not wrong, wrong
    every = {**PAGES, **{name: (path, IPHONE) for name, path in SMALL_PAGES.items()}}
    wrong = []
    for name, (code, agent) in every.items():
        for scheme in ("light", "dark"):
            for size, width in ((NARROW, "narrow"), (ZOOMED, "zoomed"), (WIDE, "wide")):
                for language in ("en", "ar", "th") if name in PAGES else ("en",):
                    # Without script a page stays.
                    phone.dress(agent, language, size, scheme, script=False)
                    phone.visit(f"{go}/{code}")
                    if shots:
                        phone.photograph(shots / f"{name.replace(' ', '-')}-{language}-{width}-{scheme}.png")
                    phone.command("Emulation.setScriptExecutionDisabled", value=False)
                    if not looks_right(seen := phone.look()):
                        wrong.append((name, width, scheme, language, seen))
    yield f"{len(every)} pages are readable in light and dark, narrow, at 200 % and wide, with an outline at what has the focus", not wrong, wrong


def looks_right(seen):
    """Whether a page has its style, its contrast and its sizes."""
    return (seen["overflow"] <= 0 and min(seen["heights"]) >= FINGER and seen["contrast"] >= CONTRAST and seen["outline"] >= 2
            and seen["mains"] == 1 and not seen["violations"] and seen["style"] != "none")


def main():
    parser = argparse.ArgumentParser(description="The landing pages in a headless browser.")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a directory for pictures of every page")
    options = parser.parse_args()
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    directory = harness.scratch_dir()
    shop = serve_shop()
    server = serve_links(directory, shop)
    go = f"http://{HOST}:{server.port}"
    say("Chromium")
    phone = Phone(directory)
    try:
        said = [*check_pages(phone, go, shop), *check_looks(phone, go, options.screenshots)]
    finally:
        phone.close()
    text = "".join(f"{'yes' if right else 'NO '} {claim}\n" for claim, right, _ in said)
    if wrong := [f"{claim}: saw {seen}" for claim, right, seen in said if not right]:
        raise Failure("\n".join([text, *wrong]))
    harness.keep(options.name, text, {"setup": harness.setup(server.command[0]), "browser": phone.version,
                                      "said": [claim for claim, _, _ in said]})


if __name__ == "__main__":
    harness.run(main)
