"""A good client's clicks, and the server's memory, while it is attacked. See attack.sh.

The worker has core 0 to itself; Waypost's other threads, the attacker and the good client share core 1, the good client first
(real-time class, its TLS part nice -20). So the server meets all that a core can send, and what is timed is the server. All of
Waypost's limits are at their defaults. The attacker (attacker.c says what it does) comes from 127.0.0.2 to 127.0.0.9, the good
client from 127.0.0.1.

1. Each round, each attack: a quiet stretch, then one under attack, in which everything is measured; then the attacker ends, and
   Waypost's memory is read once its connections are gone.
2. The good client, all three at once: clicks on 64 kept connections (steady.c), clicks on a new connection each, and clicks on a new
   TLS connection each, a full handshake (newcomer.c). All are links' clicks, open loop, timed from the moment that they are due.
   A click fails if it is refused or takes 6 s.
3. Kept: median of the rounds' percentiles (least-greatest); a ratio is the median of the rounds' own. New: percentiles of all rounds'
   clicks together, failed ones counted apart.
4. The floor (floor.c: one thread, one epoll, no TLS and nothing to shed) takes the same attack: what any server on one core would
   suffer, and what the attack does to machine and generator. It does no handshakes, so only half of that attack reaches it.
5. Memory: RssAnon (Waypost's own, no files) in the quiet stretch, at its greatest in the attack (10 looks a second), and after it and
   a second of clicks; the greatest resident size, files included, is VmHWM, set anew before each attack. The kernel's socket memory is not in it.
6. Shed: what Waypost's metrics say was closed, refused or only counted; a second, median of the rounds.
"""
import argparse
import array
import collections
import json
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

import click
import harness
import steady
from harness import Failure, say

ATTACKS = {
    "slow": "2 000 slow connections",
    "handshake": "a flood of TLS handshakes",
    "hello": "a flood of ClientHellos alone",
    "unknown": "a flood of unknown codes",
    "reset": "an HTTP/2 rapid reset flood",
    "crowd": "6 000 connections of one address",
}
ON_FLOOR = ("slow", "handshake", "unknown")
KEPT, NEW, TLS = 1000, 100, 25  # clicks a second
RAMP = 2  # seconds from the attack's begin to the stretch
# harness.py lifts these for its generators; here they are Waypost's own again.
DEFAULTS = {"WAYPOST__EDGE__LIMITS__MAX_REQUESTS": "10000", "WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS": "4096",
            "WAYPOST__EDGE__LIMITS__MAX_UNKNOWN_CODES_PER_ADDRESS": "600"}
SHED = ("waypost_connections_closed_total", "waypost_tls_handshakes_total", "waypost_clicks_unrecorded_total",
        "waypost_accept_errors_total", "waypost_clicks_total")


def compile_program(directory, name):
    program = directory / name
    subprocess.run(["gcc", "-O2", "-o", program, harness.HERE / f"{name}.c", "-lssl", "-lcrypto"], check=True)
    return program


def make_certificate(directory):
    """P-256, as certificates are issued today."""
    directory.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=go.example.com", "-addext", "subjectAltName=DNS:go.example.com",
                    "-keyout", directory / "go.key", "-out", directory / "go.crt"], check=True, capture_output=True)
    return directory


class Newcomer:
    """Clicks on new connections, by newcomer.c."""

    def __init__(self, program, kind, times):
        self.program, self.kind, self.times = program, kind, times

    def start(self, port, requests, rate, seconds):
        return subprocess.Popen([self.program, self.kind, str(port), requests, str(rate), str(seconds), self.times],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, running):
        out, errors = running.communicate()
        if running.returncode:
            raise Failure(f"newcomer.c: {errors.strip()}")
        times = array.array("Q")
        times.frombytes(self.times.read_bytes())
        return {**json.loads(out), "us": sorted(ns / 1000 for ns in times if ns)}


class Memory(threading.Thread):
    """The greatest RssAnon while it runs."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def sample(self):
        self.most = max(self.most, harness.status_bytes(self.pid, "RssAnon"))

    def run(self):
        while not self.ended.wait(0.1):
            self.sample()

    def stop(self):
        self.ended.set()
        self.join()
        self.sample()
        return self.most


class Site:
    """Waypost or the floor, and the good client that asks it."""

    def __init__(self, process, port, tls_port, requests, programs, directory):
        self.process, self.port, self.tls_port, self.requests = process, port, tls_port, requests
        self.kept = steady.Steady(directory)
        self.new = Newcomer(programs["newcomer"], "plain", directory / "new.times")
        self.tls = Newcomer(programs["newcomer"], "tls", directory / "tls.times")

    def worker_ns(self):
        pid = self.process.pid
        return harness.thread_ns(pid, "wp-worker-") if self.tls_port else harness.process_ns(pid)

    def stretch(self, seconds):
        busy, began = self.worker_ns(), time.monotonic()
        parts = {"kept": (self.kept, self.port, KEPT), "new": (self.new, self.port, NEW)}
        if self.tls_port:
            parts["tls"] = self.tls, self.tls_port, TLS
        running = {name: part.start(port, self.requests, rate, seconds) for name, (part, port, rate) in parts.items()}
        time.sleep(seconds)
        busy, took = self.worker_ns() - busy, time.monotonic() - began
        return {"busy": busy / took / 1e9, **{name: parts[name][0].finish(one) for name, one in running.items()}}


def metric_samples(waypost):
    """Every sample of the metrics that say what was shed, by name and labels."""
    found = {}
    for line in harness.get(waypost.admin, "/metrics")[2].decode().splitlines():
        if line.startswith(SHED):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


class Runs:
    def __init__(self, binary, directory, options):
        self.directory, self.options = directory, options
        links = directory / "links.jsonl"
        harness.write_links(links, click.LINKS)
        self.programs = {name: compile_program(directory, name) for name in ("attacker", "newcomer")}
        env = {**DEFAULTS, "WAYPOST__TLS__DIRECTORY": str(make_certificate(directory / "tls"))}
        self.waypost = harness.Waypost(binary, directory / "waypost", links, click.SERVER_CORE, env=env,
                                       tables=("tls = true, http2 = true", "http2 = true")).ready()
        self.waypost.keep_apart(click.SERVER_CORE, click.OTHER_CORE)
        cookies = click.take_cookies(self.waypost, click.template("in-app"))
        requests = click.Play(click.WaypostSubject(self.waypost, "file"), directory, "in-app", cookies).requests
        self.site = Site(self.waypost, self.waypost.port, self.waypost.ports[0], requests, self.programs, directory)
        answer = harness.exchange(self.waypost.port, click.head(click.template("in-app"), harness.code_of(1)))
        floor = click.Floor(directory, answer)
        self.floor = Site(floor.process, floor.port, None, requests, self.programs, directory)

    def attacker(self, attack, plain, tls):
        log = self.directory / f"{attack}.attacker"
        log.unlink(missing_ok=True)
        command = [self.programs["attacker"], attack, plain, tls, f"/{harness.code_of(7)}", 120]
        return harness.Process("attacker.c", command, click.OTHER_CORE, log)

    def stop_and_read_counts(self, attacker):
        attacker.stop()
        if attacker.child.returncode:
            raise Failure(f"attacker.c: {attacker.tail()}")
        return json.loads(attacker.tail())

    def wait_until_idle(self):
        """Waits until nothing of an attack is left: neither in the kernel's queue, which a click on a new connection goes through,
        nor open."""
        for port in (self.waypost.port, self.waypost.ports[0]):
            with socket.create_connection((harness.HOST, port), timeout=30) as last:
                last.settimeout(30)
                last.sendall(b"GET / HTTP/1.0\r\n\r\n")
                last.recv(1)
        self.waypost.wait_until(lambda: self.waypost.metrics()["waypost_connections_open"] == 0, "every connection is gone", 30)
        time.sleep(0.3)

    def on_waypost(self, attack, seconds):
        """One round of one attack: a quiet stretch and one under attack."""
        waypost, pid = self.waypost, self.waypost.pid
        quiet = self.site.stretch(seconds)
        before = harness.status_bytes(pid, "RssAnon")
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins again
        port = waypost.ports[1] if attack == "reset" else waypost.port
        memory, attacker = Memory(pid), self.attacker(attack, port, waypost.ports[0])
        time.sleep(RAMP)
        counted, at = metric_samples(waypost), time.monotonic()
        attacked = self.site.stretch(seconds)
        counted, took = {name: value - counted.get(name, 0) for name, value in metric_samples(waypost).items()}, time.monotonic() - at
        opened = waypost.metrics()["waypost_connections_open"]
        did, peak, hwm = self.stop_and_read_counts(attacker), memory.stop(), harness.status_bytes(pid, "VmHWM")
        self.wait_until_idle()
        self.site.stretch(1)  # the allocator gives memory back when it is asked for some
        return {"quiet": quiet, "attacked": attacked, "did": did, "open": opened,
                "shed": {name: value / took for name, value in counted.items() if value},
                "memory": {"before": before, "peak": peak, "after": harness.status_bytes(pid, "RssAnon"), "hwm": hwm}}

    def on_floor(self, attack, seconds):
        quiet = self.floor.stretch(seconds)
        attacker = self.attacker(attack, self.floor.port, self.floor.port)
        time.sleep(RAMP)
        attacked = self.floor.stretch(seconds)
        return {"quiet": quiet, "attacked": attacked, "did": self.stop_and_read_counts(attacker)}


def measure(runs, options):
    attacks = options.attacks.split(",")
    rounds = {("waypost", attack): [] for attack in attacks}
    rounds |= {("floor", attack): [] for attack in attacks if attack in ON_FLOOR and not options.no_floor}
    runs.site.stretch(1)
    cases = list(rounds)
    for number in range(options.rounds):
        turn = number % len(cases)
        for server, attack in cases[turn:] + cases[:turn]:
            step = runs.on_waypost if server == "waypost" else runs.on_floor
            rounds[server, attack].append(step(attack, options.seconds))
        say(f"round {number + 1} of {options.rounds}")
    return rounds


# --- figures --------------------------------------------------------------------------------------------------------

def kept_row(ones, when):
    row = {name: [steady.at(share, one[when]["kept"]["us"]) for one in ones]
           for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}
    return row | {"busy": statistics.median(one[when]["busy"] for one in ones)}


def new_row(ones, when, kind):
    if kind not in ones[0][when]:
        return None
    us = sorted(us for one in ones for us in one[when][kind]["us"])
    clicks, failed = (sum(one[when][kind][name] for one in ones) for name in ("requests", "failed"))
    row = {name: steady.at(share, us) if us else None for name, share in (("p50", 0.5), ("p99", 0.99))}
    return row | {"clicks": clicks, "failed": failed}


def with_spread(values):
    return f"{statistics.median(values):7.0f} {'(%.0f-%.0f)' % (min(values), max(values)):>15}"


def rendered(rounds, options):
    lines = [f"{options.rounds} rounds of {options.seconds} s; {KEPT} clicks/s on kept connections, {NEW} on new ones, {TLS} on new TLS ones; "
             f"microseconds of a click; busy: the share of its core that the server's thread took",
             f"{'':42}{'kept: p50':>23}{'p99':>23}{'x p99':>8}{'p99.9':>23}   {'new: p50':>9}{'p99':>9}{'failed':>10}   "
             f"{'TLS: p50':>9}{'p99':>9}{'failed':>10}{'busy':>6}"]
    table = {}
    for (server, attack), ones in rounds.items():
        who = "the floor, " if server == "floor" else ""
        for when, label in (("quiet", f"{who}quiet"), ("attacked", who + ATTACKS[attack])):
            row = {"kept": kept_row(ones, when), "new": new_row(ones, when, "new"), "tls": new_row(ones, when, "tls")}
            kept = row["kept"]
            line = f"{label:42}" + with_spread(kept["p50"]) + with_spread(kept["p99"])
            if when == "attacked":
                row["ratio"] = [b / a for a, b in zip(table[f"{server} {attack} quiet"]["kept"]["p99"], kept["p99"])]
                line += f"{statistics.median(row['ratio']):8.2f}"
            else:
                line += f"{'':8}"
            line += with_spread(kept["p99.9"])
            for kind in ("new", "tls"):
                if new := row[kind]:
                    p50, p99 = (f"{new[name]:9.0f}" if new[name] else f"{'-':>9}" for name in ("p50", "p99"))
                    line += f"   {p50}{p99}{'%d/%d' % (new['failed'], new['clicks']):>10}"
                else:
                    line += " " * 31
            table[f"{server} {attack} {when}"] = row
            lines.append(line + f"{kept['busy']:6.2f}")
    lines.append(f"\n{'memory, MiB: median (greatest)':42}{'before':>18}{'most in attack':>18}{'after':>18}{'VmHWM':>18}{'open connections':>20}")
    for (server, attack), ones in rounds.items():
        if server == "waypost":
            line = f"{ATTACKS[attack]:42}"
            for name in ("before", "peak", "after", "hwm"):
                values = [one["memory"][name] / 2**20 for one in ones]
                line += f"{'%.1f (%.1f)' % (statistics.median(values), max(values)):>18}"
            lines.append(line + f"{statistics.median(one['open'] for one in ones):20.0f}")
    lines.append("\na second: what the attacker did, and what Waypost's metrics count of it (waypost_ and _total left out)")
    for (server, attack), ones in rounds.items():
        did = {name: statistics.median(one["did"][name] / one["did"]["seconds"] for one in ones)
               for name in ones[0]["did"] if name not in ("seconds", "open", "most_open")}
        line = f"{('the floor, ' if server == 'floor' else '') + ATTACKS[attack]}: attacker " + ", ".join(
            f"{name} {value:.0f}" for name, value in did.items() if value)
        line += f", {statistics.median(one['did']['most_open'] for one in ones):.0f} open at most"
        if server == "waypost":
            shed = collections.defaultdict(list)
            for one in ones:
                for name, value in one["shed"].items():
                    shed[name].append(value)
            line += "; counted " + ", ".join(f"{name.replace('waypost_', '').replace('_total', '')} {statistics.median(values):.0f}"
                                             for name, values in sorted(shed.items()) if statistics.median(values) >= 0.5)
        lines.append(line)
    first = next(iter(rounds.values()))[0]["quiet"]
    late = {kind: max(statistics.median(one[when][kind]["late_p999_us"] for one in ones) for ones in rounds.values()
                      for when in ("quiet", "attacked") if kind in ones[0][when]) for kind in ("kept", "new", "tls")}
    lines.append("the good client: " + "; ".join(
        f"{kind}: {first[kind]['class']}, saw a click late by {late[kind]:.0f} us at p99.9 in the worst case" for kind in late
        if kind in first) + "; which is no part of a time")
    return "\n".join([*lines, "", *readme_rows(rounds, table)]) + "\n", table


def readme_rows(rounds, table):
    """The same, short."""
    def times(row):
        return " / ".join(f"{statistics.median(row['kept'][name]):.0f}" for name in ("p50", "p99", "p99.9"))

    def new(row):
        return f"{row['p99']:.0f}" + (f", {row['failed']} of {row['clicks']} failed" if row["failed"] else "") if row["p99"] else "none served"

    yield "| under | kept, quiet: p50 / p99 / p99.9 | under attack | p99 | new, quiet: p99 | under attack | TLS, quiet: p99 | under attack | memory before, most, after |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for server, attack in rounds:
        quiet, attacked = (table[f"{server} {attack} {when}"] for when in ("quiet", "attacked"))
        tls, memory = "| | |", "|"
        if server == "waypost":
            tls = f"| {new(quiet['tls'])} | {new(attacked['tls'])} |"
            memory = ", ".join(f"{statistics.median(one['memory'][name] for one in rounds[server, attack]) / 2**20:.0f}"
                               for name in ("before", "peak", "after")) + " MiB |"
        yield (f"| {'the floor, ' if server == 'floor' else ''}{ATTACKS[attack]} | {times(quiet)} | {times(attacked)} "
               f"| {statistics.median(attacked['ratio']):.2f} x | {new(quiet['new'])} | {new(attacked['new'])} {tls} {memory}")


def main():
    parser = argparse.ArgumentParser(description="A good client's clicks and the server's memory under attack.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=3, help="length of a stretch (3)")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="which (all)")
    parser.add_argument("--no-floor", action="store_true", help="leave the control out")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary), "limits": "Waypost's defaults"}
    runs = Runs(binary, directory, options)
    rounds = measure(runs, options)
    text, record["table"] = rendered(rounds, options)

    def bare(stretch):
        return {name: {key: value for key, value in one.items() if key != "us"} if isinstance(one, dict) else one
                for name, one in stretch.items()}

    record["rounds"] = {" ".join(case): [{**one, "quiet": bare(one["quiet"]), "attacked": bare(one["attacked"])} for one in ones]
                        for case, ones in rounds.items()}
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
