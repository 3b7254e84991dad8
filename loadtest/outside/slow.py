"""slowhttptest: 2 000 connections that send or read as slowly as they may, on the plain and on the TLS listener.

A good client clicks on a new connection ten times a second meanwhile. Asked of each attack: the tool calls the service available to the
end; every click of the good client is answered 302, 99 of 100 within a second and each within the tool's own three; every slow connection is ended from this side, in Waypost and in the
kernel. The last is judged by the kernel's table: a client that never reads is not told that its connection is gone, so the tool counts
it until its own time is up.
"""
import csv
import pathlib
import re
import socket
import ssl
import statistics
import threading
import time

from harness import HOST, say
from outside.findings import Finding, Outcome
from outside.site import plain_text, run

CONNECTIONS, RATE = 2000, 500
PATIENCE, P99 = 3, 1  # seconds that a click may take beside the attack, and 99 of 100; the tool's own probe has PATIENCE, too
LENGTH = 120  # seconds at most: an idle connection is ended after 75, an unread answer given up as long after it was first stuck
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


def count_open_connections(port):
    """Sockets of the listener's side in the kernel's table, but those that listen or wait out their last minute."""
    table = pathlib.Path("/proc/net/tcp").read_text()
    return sum(state not in ("0A", "06") for state in re.findall(rf"^ *\d+: 0100007F:{port:04X} \S+ (\w\w) ", table, re.M))


class Watch(threading.Thread):
    """Each second: the sockets held for the attack."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.held, self.over, self.began = port, [], threading.Event(), time.monotonic()

    def run(self):
        while not self.over.wait(1):
            self.held.append((round(time.monotonic() - self.began), count_open_connections(self.port)))

    def most(self):
        return max(number for _, number in self.held)

    def seconds_until_empty(self):
        """Seconds until nothing but the good client's was held for the first time after the most; None if never."""
        after = next(second for second, number in self.held if number == self.most())
        return next((second for second, number in self.held if second >= after and number <= 3), None)


def attack(site, way, url, port, context, name, options):
    """One attack: its findings, a line, and what is kept."""
    client, watch = GoodClient(port, context), Watch(port)
    before, prefix = site.closed(), site.directory / f"{way}-{name}".replace(" ", "-")
    client.start()
    watch.start()
    _, printed = run(["slowhttptest", *options, "-c", CONNECTIONS, "-r", RATE, "-l", LENGTH, "-p", PATIENCE, "-u", url, "-g", "-o", prefix,
                      "-v", 1], LENGTH + 60)
    time.sleep(2)  # the watch sees the end
    watch.over.set()
    client.stop()
    watch.join()
    found = re.search(r"Exit status:\s*(.+)", plain_text(printed))
    ended = found[1].strip() if found else "no exit status"
    rows = list(csv.DictReader(open(f"{prefix}.csv", encoding="ascii")))
    closed = {reason: number - before.get(reason, 0) for reason, number in site.closed().items() if number > before.get(reason, 0)}
    late = [one for one in client.seconds if one > PATIENCE]
    wrong = []
    if not rows or any(row["Service Available"] == "0" for row in rows):
        wrong.append(("available", "the tool does not call the service available all the time"))
    times = sorted(client.seconds or [0])
    p99 = times[int(len(times) * 0.99)]
    if client.failures or late or p99 > P99 or not client.seconds:
        wrong.append(("good client", f"{len(client.failures)} clicks failed ({client.failures[:1]}), {len(late)} took over {PATIENCE} s, "
                                     f"p99 {p99:.1f} s"))
    if watch.seconds_until_empty() is None:
        wrong.append(("ended", f"{watch.held[-1][1]} connections are still held; the tool: {ended}"))
    line = (f"{way}, {name}: the tool: {ended}; held: at most {watch.most()}, none after {watch.seconds_until_empty()} s; "
            f"good client: {len(client.seconds)} clicks, {len(client.failures)} failed, median {1000 * statistics.median(times):.1f} ms, "
            f"p99 {1000 * p99:.0f} ms, slowest {1000 * times[-1]:.0f} ms; ended for: {closed}")
    return [Finding(f"{way}, {name}: {id}", "high", text) for id, text in wrong], line, {
        "tool": ended, "rows": rows, "held": watch.held, "ms": [round(1000 * one, 1) for one in client.seconds],
        "failures": client.failures, "closed": closed}


def slowhttptest(site):
    trusted = ssl.create_default_context(cafile=site.directory / "ca.pem")
    findings, lines, record = [], [], {}
    for way, url, port, context in (("plain", f"http://{HOST}:{site.plain}/tea", site.plain, None),
                                    ("TLS", f"https://{HOST}:{site.tls}/tea", site.tls, trusted)):
        for name, options in MODES:
            say(f"  {way}, {name}")
            found, line, kept = attack(site, way, url, port, context, name, options)
            findings += found
            lines.append(line)
            record[f"{way} {name}"] = kept
    version = re.search(r"version ([\d.]+)", run(["slowhttptest", "-h"], 10)[1])
    return Outcome(f"slowhttptest {version[1]}", 3 * len(lines), findings, lines, record)
