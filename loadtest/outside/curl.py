"""curl: each protocol that a listener speaks, the refusal of those it does not, HEAD, and a cookie jar over two clicks.

The certificate is checked against the run's CA, for the name go.example.com. What the journal made of the last clicks is read back.
"""
from outside.findings import Finding, Outcome
from outside.site import HOSTS, run

HOST_NAME = HOSTS[0]
# name, port, curl's words, and what it must print: status, protocol; or "exit" and its status
CASES = (
    ("plain, HTTP/1.1", "plain", ["--http1.1"], "302 1.1"),
    ("plain, HTTP/1.0", "plain", ["--http1.0"], "302 1"),
    ("plain, HTTP/2 by prior knowledge", "h2c", ["--http2-prior-knowledge"], "302 2"),
    ("plain, HTTP/1.1 where HTTP/2 is spoken too", "h2c", ["--http1.1"], "302 1.1"),
    ("plain, an upgrade to h2c is not taken, the click is answered", "h2c", ["--http2"], "302 1.1"),
    ("TLS, HTTP/1.1", "tls", ["--http1.1"], "302 1.1"),
    ("TLS, both offered: HTTP/1.1 comes first", "tls", ["--http2"], "302 1.1"),
    ("TLS, no ALPN", "tls", ["--no-alpn"], "302 1.1"),
    ("TLS 1.2 alone", "tls", ["--tlsv1.2", "--tls-max", "1.2"], "302 1.1"),
    ("TLS 1.3 alone", "tls", ["--tlsv1.3"], "302 1.1"),
    ("TLS 1.1 is refused", "tls", ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"], "exit 35"),
    ("TLS, HEAD over HTTP/1.1", "tls", ["--http1.1", "--head"], "302 1.1"),
    ("plain, HEAD over HTTP/2", "h2c", ["--http2-prior-knowledge", "--head"], "302 2"),
    ("TLS, POST over HTTP/1.1 is refused", "tls", ["--http1.1", "--data", "a=b"], "405 1.1"),
    ("plain, POST over HTTP/2 is refused", "h2c", ["--http2-prior-knowledge", "--data", "a=b"], "405 2"),
    ("TLS, a name that the certificate has not", "tls", ["--connect-to", "other.example.com::127.0.0.1:{tls}",
                                                         "https://other.example.com/tea"], "exit 60"),
    ("plain bytes to the TLS listener", "tls-plain", ["--http1.1"], "exit 1"),
)


def url(site, port, code="tea"):
    scheme = "https" if port == "tls" else "http"
    number = {"tls": site.tls, "tls-plain": site.tls, "h2c": site.h2c, "plain": site.plain}[port]
    return [f"{scheme}://{HOST_NAME}:{number}/{code}", "--resolve", f"{HOST_NAME}:{number}:127.0.0.1"]


def run_curl(site, port, words, code="tea", form="%{http_code} %{http_version}"):
    words = [str(word).replace("{tls}", str(site.tls)) for word in words]
    where = [] if any(word.startswith("https://") for word in words) else url(site, port, code)
    status, printed = run(["curl", "--silent", "--max-time", 10, "--output", "/dev/null", "--write-out", form,
                           "--cacert", site.directory / "ca.pem", *words, *where], 30)
    return printed.strip() if status == 0 else f"exit {status}"


def click_twice_with_cookie_jar(site):
    """Two clicks with one jar, on two links: name → whether it is so, and what was seen."""
    jar, before = site.directory / "jar", len(site.clicks(1))
    words = ["--cookie", jar, "--cookie-jar", jar]
    location = run_curl(site, "tls", words, "tea", "%{redirect_url}")
    yield "the first click is sent to the link's destination with a token", "https://shop.example.com/tea?wp=v1." in location, location
    kept = [line.split("\t") for line in jar.read_text().splitlines() if "__Host-wp" in line]
    yield "the jar keeps one cookie, HttpOnly and Secure", (
        len(kept) == 1 and kept[0][0].startswith("#HttpOnly_") and kept[0][3] == "TRUE"), kept
    run_curl(site, "tls", words, "cup")
    run_curl(site, "tls", [*words, "--head"], "pot")
    first, second, head = site.clicks(before + 3)[before:]
    yield "the first click knows none before it", "previous_click_id" not in first, first
    yield "the second names the first", second.get("previous_click_id") == first["click_id"] and second["previous_code"] == "tea", second
    yield "both are of one visitor", first["visitor_id"] == second["visitor_id"] and not second["visitor_new"], second
    yield "HEAD is no sale and sets no cookie", (head["class"], head["countable"], head["cookie_set"], head["token_placed"]) == (
        "head", False, False, False), head


def curl(site):
    lines, findings = [], []
    said = [(name, got == want, f"{got}, expected {want}")
            for name, port, words, want in CASES for got in [run_curl(site, port, words)]]
    said += click_twice_with_cookie_jar(site)
    for name, right, seen in said:
        lines.append(f"{'yes' if right else 'NO '} {name}")
        if not right:
            findings.append(Finding(name, "high", f"saw {seen}"))
    version = run(["curl", "--version"], 10)[1].splitlines()[0]
    return Outcome(" ".join(version.split()[:2]), len(said), findings, lines, {"said": said})
