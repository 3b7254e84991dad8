"""h2load: many clicks on few connections, over TLS with HTTP/2 and HTTP/1.1 and over plain HTTP/2. Every one must be answered 3xx
and delivered once."""
import re

from harness import HOST
from outside.findings import Finding, Outcome
from outside.site import run

REQUESTS, CONNECTIONS = 50_000, 50  # 1 000 a connection: far below the 10 000 after which it is closed


def h2load(site):
    lines, findings, record = [], [], {}
    for way, url, options in (("TLS, HTTP/2", f"https://{HOST}:{site.tls}/tea", ["-m", 20, "--npn-list=h2"]),
                              ("TLS, HTTP/1.1", f"https://{HOST}:{site.tls}/tea", ["--h1"]),
                              ("plain HTTP/2", f"http://{HOST}:{site.h2c}/tea", ["-m", 20]),
                              ("plain HTTP/1.1", f"http://{HOST}:{site.plain}/tea", ["--h1"])):
        _, printed = run(["h2load", "-n", REQUESTS, "-c", CONNECTIONS, "-t", 1, "-H", "user-agent: h2load", *options, url], 300)
        kept = [line for line in printed.splitlines() if re.match(r"(finished|requests:|status codes:|TLS Protocol|Application)", line)]
        lines += [f"{way}:", *(f"    {line}" for line in kept)]
        record[way] = printed.splitlines()
        whole = (f"requests: {REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout",
                 f"status codes: 0 2xx, {REQUESTS} 3xx, 0 4xx, 0 5xx")
        if missing := [line for line in whole if line not in printed]:
            findings.append(Finding(way, "high", f"not said: {missing[0]}"))
    clicks = int(site.settled(4 * REQUESTS)["waypost_clicks_delivered_total"])
    lines.append(f"clicks journaled and delivered: {clicks}")
    if clicks != 4 * REQUESTS:
        findings.append(Finding("clicks", "high", f"{clicks} delivered, {4 * REQUESTS} answered"))
    return Outcome(run(["h2load", "--version"], 10)[1].strip(), 5, findings, lines, record)
