"""Resident memory of Waypost without, with and after many connections that do nothing. See idle.sh.

An idle connection has had one click answered and stays open; a half-sent one has sent half a request head. Both are cut
by the header timeout, so all are opened at once, counted in the kernel's table, and measured before it strikes.
"""
import argparse
import os
import pathlib
import re
import resource
import socket
import time

import harness
from harness import Failure, say

REQUEST = "GET /{} HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n"
HALF = b"GET /half HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: " + b"x" * 400


def established(port):
    """How many connections the server's side holds open: state 01 in /proc/net/tcp."""
    table = pathlib.Path("/proc/net/tcp").read_text()
    return len(re.findall(rf"^ *\d+: 0100007F:{port:04X} [0-9A-F]+:[0-9A-F]{{4}} 01 ", table, re.M))


def connect(port, count):
    return [socket.create_connection((harness.HOST, port), timeout=30) for _ in range(count)]


def memory(waypost):
    return {field: harness.status_bytes(waypost.pid, field) for field in ("VmRSS", "RssAnon", "RssFile", "RssShmem")}


def drive(waypost, options):
    """Opens, measures, closes, measures: the steps by name."""
    steps = {"ready": memory(waypost)}
    code = harness.code_of(0)
    for _ in range(1000):  # first use of code and heap is not the connections' doing
        harness.exchange(waypost.port, REQUEST.format(code).encode())
    steps["after 1000 connections, all closed"] = memory(waypost)

    began = time.monotonic()
    idle = connect(waypost.port, options.idle)
    for peer in idle:
        peer.sendall(REQUEST.format(code).encode())
    for peer in idle:
        if not peer.recv(65536).startswith(b"HTTP/1.1 302"):
            raise Failure("a click was not answered with 302")
    if (held := established(waypost.port)) < options.idle:
        raise Failure(f"only {held} of {options.idle} idle connections are open")
    steps[f"{options.idle} idle"] = memory(waypost)

    half = connect(waypost.port, options.half_sent)
    for peer in half:
        peer.sendall(HALF)
    time.sleep(0.2)  # the server reads what was sent
    if (held := established(waypost.port)) < options.idle + options.half_sent:
        raise Failure(f"only {held} connections are open, {time.monotonic() - began:.1f} s after the first")
    steps[f"{options.idle} idle and {options.half_sent} half-sent"] = memory(waypost)
    say(f"opened and measured in {time.monotonic() - began:.1f} s")

    for peer in idle + half:
        peer.close()
    waypost.wait_until(lambda: established(waypost.port) == 0, "all connections are closed", 30)
    steps["all closed"] = memory(waypost)
    return steps


def main():
    parser = argparse.ArgumentParser(description="Memory of idle and half-sent connections.")
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--half-sent", type=int, default=1_000)
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if room < options.idle + options.half_sent + 100:
        raise Failure(f"{room} open files are allowed: raise `ulimit -n`")

    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary)}
    harness.write_links(directory / "links.jsonl", 1_000)
    waypost = harness.Waypost(binary, directory / "run", directory / "links.jsonl", {0, 1}).ready()
    record["steps"] = steps = drive(waypost, options)

    base, idle, half = (list(steps.values())[at]["VmRSS"] for at in (1, 2, 3))
    text = f"{'':44}{'resident':>12}{'anonymous':>12}{'files':>12}{'shared':>12}   MiB\n"
    for name, step in steps.items():
        text += f"{name:44}" + "".join(f"{size / 2**20:12.1f}" for size in step.values()) + "\n"
    text += (f"an idle connection: {(idle - base) / options.idle:.0f} bytes; "
             f"a half-sent one: {(half - idle) / options.half_sent:.0f} bytes (the kernel's socket memory apart)\n")
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
