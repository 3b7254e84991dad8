"""What the run sells: links of every kind, product sets that change, and phones whose apps have cookie jars of their own."""
import dataclasses
import json
import time

DAY_MS = 86_400_000
#: Links of this host set a cookie that reaches the shop; those of every other host put a token into the URL.
SAME_SITE = "go.example.com"
ANY_HOST = "*"
SELLERS = ("s_1", "s_2")
PRODUCTS = tuple(f"p_{number}" for number in range(1, 7))

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240705.005; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0"
TAP = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "ko-KR,ko;q=0.9",
       "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1"}
#: Name of an app → the headers of its taps. Each app of a phone has a cookie jar.
APPS = {
    "instagram": {**TAP, "User-Agent": f"{IPHONE} Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5_1; ko_KR)",
                  "Referer": "https://l.instagram.com/"},
    "facebook": {**TAP, "User-Agent": f"{ANDROID} Chrome/126.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/470.0.0.40;]",
                 "X-Requested-With": "com.facebook.katana", "Referer": "https://l.facebook.com/"},
    "tiktok": {**TAP, "User-Agent": f"{ANDROID} Chrome/126.0.0.0 Mobile Safari/537.36 musical_ly_2023502030 BytedanceWebview/d8a21c6",
               "X-Requested-With": "com.zhiliaoapp.musically"},
    "safari": {**TAP, "User-Agent": f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1"},
    "chrome": {**TAP, "User-Agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko)"
                                    " Chrome/126.0.0.0 Mobile Safari/537.36"},
    # The shop's own app opens the link itself: no cookie, and the token in the answer's JSON.
    "shop-app": {"User-Agent": "ExampleShop/7.2 (iPhone; iOS 17.5.1)", "Accept": "application/vnd.waypost.click+json"},
}
PREVIEW = {"User-Agent": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "Accept": "*/*"}


@dataclasses.dataclass(frozen=True)
class Link:
    """A line of the links file, as the model needs it. Times in milliseconds."""
    domain: str
    code: str
    kind: str
    creator: str
    created_ms: int
    expires_ms: int
    is_test: bool
    record: dict

    @property
    def end_ms(self):
        return min(self.expires_ms, self.created_ms + 100 * DAY_MS)


class World:
    """All links and product sets of a run. `start_ms` is a whole second."""

    def __init__(self, start_ms):
        self.start_ms = start_ms
        self.links = []
        self.entries = []
        for number, product in enumerate(PRODUCTS):
            for variant in range(3):
                self.add_product_link(number, product, variant)
        for name, creator, partner in (("set_a", "c_1", None), ("set_b", "c_2", "tap_2")):
            self.add_link(f"shelf-{creator}", "showcase", creator, product_set=name, partner=partner)
        self.add_link("spring", "campaign", "c_7", creator_type="linkshare-only", campaign="k_spring", product_set="set_k")
        self.add_link("blog", "plain", "c_8")
        self.add_link("nobody", "product", None, seller="s_1", product="p_1", plan="open", rate_bp=900)
        self.add_link("trial", "product", "c_9", seller="s_1", product="p_1", plan="open", rate_bp=2600, test=True)
        sold = {"seller": "s_2", "product": "p_2", "plan": "targeted", "rate_bp": 1700}
        self.add_link("gone", "product", "c_3", **sold, expires_ms=start_ms - 3_600_000)
        self.add_link("ends-soon", "product", "c_4", **sold, expires_ms=start_ms + 5 * DAY_MS)
        self.add_link("old", "product", "c_5", **sold, created_ms=start_ms - 97 * DAY_MS)
        for name in ("set_a", "set_b", "set_k"):
            for number, product in enumerate(PRODUCTS):
                if number % 2 == len(name) % 2 or name == "set_k":
                    self.add_entry(name, SELLERS[number % 2], product, start_ms - DAY_MS, 700 + 111 * number)

    def add_product_link(self, number, product, variant):
        self.add_link(f"{product}-{variant}", "product", f"c_{1 + (number + variant) % 9}", seller=SELLERS[number % 2],
                      product=product, plan=("open", "targeted")[variant % 2], rate_bp=(500, 1234, 2599)[variant],
                      partner=(None, "tap_1", "tap_2")[variant], domain=(ANY_HOST, ANY_HOST, SAME_SITE)[variant],
                      creator_type=("affiliate", "linkshare-only")[variant % 2])

    def add_link(self, code, kind, creator, domain=ANY_HOST, created_ms=None, expires_ms=None, creator_type="affiliate",
                 test=False, **terms):
        created_ms = created_ms or self.start_ms - 3 * DAY_MS
        record = {"domain": domain, "code": code, "url": f"https://shop.example.com/{code}", "kind": kind,
                  "created_at": rfc3339(created_ms), **{key: value for key, value in terms.items() if value is not None}}
        if creator:
            record |= {"creator": creator, "creator_type": creator_type}
        if expires_ms:
            record["expires_at"] = rfc3339(expires_ms)
        if test:
            record["test"] = True
        self.links.append(Link(domain, code, kind, creator, created_ms, expires_ms or 1 << 60, test, record))

    def add_entry(self, name, seller, product, valid_from_ms, rate_bp, removed=False):
        entry = {"product_set_id": name, "seller_id": seller, "product_id": product, "valid_from_ms": valid_from_ms}
        entry |= {"removed": True} if removed else {"plan": "targeted", "rate_bp": rate_bp, "partner_id": "tap_9"}
        self.entries.append(entry)
        return entry

    def write_links(self, path):
        path.write_text("".join(json.dumps(link.record) + "\n" for link in self.links))


def rfc3339(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
