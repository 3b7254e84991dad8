"""CPU of a click on a new plain connection, with TCP_DEFER_ACCEPT on the listening socket and without it. See defer.sh.

The kernel then hands a connection over once its first bytes are there, which spares the worker a wake-up and a read of nothing.
Two Waypost with one worker each take turns on core 0; each has its listening socket from this program, as systemd passes one
(`DeferAcceptSec=1` in a socket unit). newcomer.c sends at a fixed rate from core 1. CPU is that of the worker thread.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess

import click
import harness
from harness import Failure, say

VARIANTS = ("plain", "deferred")


def listening_socket(variant):
    listener = socket.socket()
    if variant == "deferred":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((harness.HOST, 0))
    listener.listen(4096)
    return listener


class Subject(harness.Process):
    """Waypost on a socket that it inherits."""

    def __init__(self, binary, directory, links, variant):
        listener, self.admin = listening_socket(variant), harness.free_port()
        self.port = listener.getsockname()[1]
        os.dup2(listener.fileno(), 3, inheritable=True)  # the first descriptor of the protocol
        serve = (f'LISTEN_PID=$$ exec "{binary}" serve --links "{links}" --admin {harness.HOST}:{self.admin} '
                 f'--data-dir "{directory / variant}"')
        env = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "edge", "WAYPOST__EDGE__LISTEN": '["systemd:edge"]',
               "WAYPOST__EDGE__WORKERS": "1", "WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS": "1000000"}
        self.keep = (3,)
        super().__init__("waypost", ["sh", "-c", serve], click.SERVER_CORE, directory / f"{variant}.log", env)
        os.close(3)
        self.wait_until(lambda: (harness.get(self.admin, "/readyz") or (0,))[0] == 200, "/readyz answers 200", 60)

    def round(self, program, requests, options):
        before = harness.thread_ns(self.pid, "wp-worker-")
        ran = subprocess.run([program, "plain", str(self.port), requests, str(options.rate), str(options.seconds),
                              str(requests) + ".times"], capture_output=True, text=True, check=True)
        sent = json.loads(ran.stdout)
        if sent["failed"]:
            raise Failure(f"clicks failed: {sent}")
        return (harness.thread_ns(self.pid, "wp-worker-") - before) / 1000 / sent["requests"]


def main():
    parser = argparse.ArgumentParser(description="What TCP_DEFER_ACCEPT saves.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="length of a round (2)")
    parser.add_argument("--rate", type=int, default=3000, help="new connections a second (3000)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary)}
    program, links, requests = directory / "newcomer", directory / "links.jsonl", directory / "requests"
    subprocess.run(["gcc", "-O2", "-o", program, harness.HERE / "newcomer.c", "-lssl", "-lcrypto"], check=True)
    harness.write_links(links, click.LINKS)
    requests.write_bytes(b"".join(click.head(click.template("in-app"), harness.code_of(number)) for number in range(1000)))
    subjects = {variant: Subject(binary, directory, links, variant) for variant in VARIANTS}
    record["rounds"] = rounds = {variant: [] for variant in VARIANTS}
    for number in range(options.rounds + 1):
        for variant in VARIANTS[:: -1 if number % 2 else 1]:
            us = subjects[variant].round(program, requests, options)
            if number:  # round 0 warms up
                rounds[variant].append(us)
        say(f"round {number} of {options.rounds}")
    ratios = [deferred / plain for plain, deferred in zip(rounds["plain"], rounds["deferred"])]
    lines = [f"{options.rounds} rounds of {options.seconds} s in turn, {options.rate} new connections/s; CPU us a click of the worker"]
    for name, values in [*rounds.items(), ("deferred / plain", ratios)]:
        lines.append(f"{name:18}{statistics.median(values):8.2f}  ({min(values):.2f}-{max(values):.2f})")
    harness.keep(options.name, "\n".join(lines) + "\n", record)


if __name__ == "__main__":
    harness.run(main)
