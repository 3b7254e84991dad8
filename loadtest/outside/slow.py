"""slowhttptest: 2 000 connections that send or read as slowly as they may, on the plain and on the TLS listener.

A good client clicks on a new connection ten times a second meanwhile. Asked of each attack: the tool calls the service available to the
end; every click of the good client is answered 302 within a second; Waypost itself ends every slow connection, before the tool does.
"""
import csv
import re
import ssl
import socket
import statistics
import threading
import time

from harness import HOST
from outside.findings import Finding, Outcome
from outside.site import run

CONNECTIONS, RATE = 2000, 500
PATIENCE = 1.0  # seconds that a click may take beside the attack
# An idle connection is ended after 75 s; the others sooner.
LENGTH = 150
MODES = (
    ("slow headers", ["-H", "-i", 5]),
    ("slow body", ["-B", "-i", 5]),
    ("ranges", ["-R"]),
    ("slow read", ["-X", "-k", 10, "-w", 8, "-y", 16, "-n", 5, "-z", 1]),
)


class GoodClient(threading.Thread):
    """Clicks on new connections until it is told to stop; keeps each one's seconds, or why it failed."""

    def __init__(self, port, context=None):
        super().__init__(daemon=True)
        self.port, self.context = port, context
        self.seconds, self.failures, self.over = [], [], threading.Event()

    def click(self):
        with socket.create_connection((HOST, self.port), timeout=10) as peer:
            if self.context:
                peer = self.context.wrap_socket(peer, server_hostname="go.example.com")
            with peer:
                peer.sendall(b"GET /tea HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: good\r\nConnection: close\r\n\r\n")
                answer = peer.recv(4096)
        if not answer.startswith(b"HTTP/1.1 302 "):
            raise OSError(f"answered {answer[:60]!r}")

    def run(self):
        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                self.click()
                self.seconds.append(time.monotonic() - began)
            except OSError as error:
                self.failures.append(f"{error} after {time.monotonic() - began:.1f} s")

    def stop(self):
        self.over.set()
        self.join(30)


def plain_text(printed):
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed)


def attack(site, way, url, port, context, name, options):
    """One attack: its finding ids with their text, a line, and what is kept."""
    client = GoodClient(port, context)
    before, prefix = site.closed(), site.directory / f"{way}-{name}".replace(" ", "-")
    client.start()
    began = time.monotonic()
    _, printed = run(["slowhttptest", *options, "-c", CONNECTIONS, "-r", RATE, "-l", LENGTH, "-p", 3, "-u", url, "-g", "-o", prefix,
                      "-v", 1], LENGTH + 60)
    took = time.monotonic() - began
    client.stop()
    printed = plain_text(printed)
    ended = re.search(r"Exit status:\s*(.+)", printed)
    rows = list(csv.DictReader(open(f"{prefix}.csv", encoding="ascii")))
    # The header of the file names its columns in another order than it writes them: the most open at once is told by either.
    most = max(int(row["Connected"]) for row in rows)
    closed = {reason: number - before.get(reason, 0) for reason, number in site.closed().items() if number > before.get(reason, 0)}
    slow = [one for one in client.seconds if one > PATIENCE]
    wrong = []
    if re.search(r"service available:\s*NO", printed) or not re.search(r"service available:\s*YES", printed):
        wrong.append(("available", "the tool does not call the service available all the time"))
    if client.failures or slow or not client.seconds:
        wrong.append(("good client", f"{len(client.failures)} clicks failed ({client.failures[:1]}), {len(slow)} took over {PATIENCE} s"))
    if not ended or "No open connections left" not in ended[1]:
        wrong.append(("closed", f"connections were left to the tool: {ended[1] if ended else printed[-200:]}"))
    p99 = sorted(client.seconds)[int(len(client.seconds) * 0.99)] if client.seconds else 0
    line = (f"{way}, {name}: over after {took:.0f} s ({ended[1].strip() if ended else '?'}), most open {most}; good client: "
            f"{len(client.seconds)} clicks, {len(client.failures)} failed, median {1000 * statistics.median(client.seconds or [0]):.1f} ms, "
            f"p99 {1000 * p99:.0f} ms, slowest {1000 * max(client.seconds or [0]):.0f} ms; ended: {closed}")
    return [Finding(f"{way} {name}: {id}", "high", text) for id, text in wrong], line, {
        "rows": rows, "seconds": client.seconds, "failures": client.failures, "closed": closed, "took": took}


def slowhttptest(site):
    trusted = ssl.create_default_context(cafile=site.directory / "ca.pem")
    findings, lines, record = [], [], {}
    for way, url, port, context in (("plain", f"http://{HOST}:{site.plain}/tea", site.plain, None),
                                    ("TLS", f"https://{HOST}:{site.tls}/tea", site.tls, trusted)):
        for name, options in MODES:
            found, line, kept = attack(site, way, url, port, context, name, options)
            findings += found
            lines.append(line)
            record[f"{way} {name}"] = kept
    version = re.search(r"slowhttptest version (\S+)|version ([\d.]+)", plain_text(run(["slowhttptest", "-h"], 10)[1]))
    return Outcome(f"slowhttptest {version[1] or version[2] if version else '?'}", 3 * len(lines), findings, lines, record)
