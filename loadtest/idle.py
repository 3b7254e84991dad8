"""Resident memory of Waypost without, with and after many connections that do nothing, and its CPU time meanwhile. See
idle.sh.

An idle connection has had one click answered and stays open; a half-sent one has sent half a request head. Both are cut
by the header timeout, so all are opened at once, counted in the kernel's table, and measured before it strikes. An idle
TLS connection has shaken hands in full and had one click answered. Idle ones are measured at once and when they are dormant:
after a second a worker lets 2560 of them a second release their buffers, and the allocator needs time too.
"""
import argparse
import os
import pathlib
import re
import resource
import socket
import ssl
import time

import harness
import tls
from harness import Failure, say

REQUEST = "GET /{} HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n"
HALF = b"GET /half HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: " + b"x" * 400


def established(port):
    """How many connections the server's side holds open: state 01 in /proc/net/tcp."""
    table = pathlib.Path("/proc/net/tcp").read_text()
    return len(re.findall(rf"^ *\d+: 0100007F:{port:04X} [0-9A-F]+:[0-9A-F]{{4}} 01 ", table, re.M))


def connect(port, count):
    return [socket.create_connection((harness.HOST, port), timeout=30) for _ in range(count)]


def connect_tls(port, count):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # One after the other: a handshake has a deadline.
    return [context.wrap_socket(connect(port, 1)[0], server_hostname="go.example.com") for _ in range(count)]


def idle_cpu(waypost, seconds):
    """The share of a core that a process takes which nobody asks for anything."""
    before = harness.process_ns(waypost.pid)
    time.sleep(seconds)
    return (harness.process_ns(waypost.pid) - before) / 1e9 / seconds


def memory(waypost):
    return {field: harness.status_bytes(waypost.pid, field) for field in ("VmRSS", "RssAnon", "RssFile", "RssShmem")}


def settled_memory(waypost):
    """The least memory of twenty seconds. A burst of clicks comes each two seconds, as in a server that is in use: the allocator
    returns memory only when it is called."""
    seen = []
    for _ in range(10):
        time.sleep(2)
        for _ in range(200):
            harness.exchange(waypost.port, REQUEST.format(harness.code_of(0)).encode())
        seen.append(memory(waypost))
    return min(seen, key=lambda one: one["VmRSS"])


def ask(peers, code):
    """A click on each connection, which stays open."""
    for peer in peers:
        peer.sendall(REQUEST.format(code).encode())
    for peer in peers:
        if not peer.recv(65536).startswith(b"HTTP/1.1 302"):
            raise Failure("a click was not answered with 302")
    return peers


def drive_tls(waypost, options):
    """The same for idle TLS connections, of which a client makes fewer in the time."""
    port, code = waypost.ports[0], harness.code_of(0)
    for _ in range(200):  # one at a time, as above
        ask(connect_tls(port, 1), code)[0].close()
    waypost.wait_until(lambda: established(port) == 0, "all connections are closed", 30)
    steps = {"after 200 TLS connections, all closed": memory(waypost)}
    idle = ask(connect_tls(port, options.idle_tls), code)
    if (held := established(port)) < options.idle_tls:
        raise Failure(f"only {held} of {options.idle_tls} idle TLS connections are open")
    steps[f"{options.idle_tls} idle, TLS"] = memory(waypost)
    steps[f"{options.idle_tls} dormant, TLS"] = settled_memory(waypost)
    for peer in idle:
        peer.close()
    waypost.wait_until(lambda: established(port) == 0, "all connections are closed", 30)
    return steps


def drive(waypost, options):
    """Opens, measures, closes, measures: the steps by name."""
    steps = {"ready": memory(waypost)}
    code = harness.code_of(0)
    for _ in range(1000):  # first use of code and heap is not the connections' doing
        harness.exchange(waypost.port, REQUEST.format(code).encode())
    steps["after 1000 connections, all closed"] = memory(waypost)

    began = time.monotonic()
    idle = ask(connect(waypost.port, options.idle), code)
    if (held := established(waypost.port)) < options.idle:
        raise Failure(f"only {held} of {options.idle} idle connections are open")
    steps[f"{options.idle} idle"] = memory(waypost)
    steps[f"{options.idle} dormant"] = settled_memory(waypost)

    half = connect(waypost.port, options.half_sent)
    for peer in half:
        peer.sendall(HALF)
    time.sleep(0.2)  # the server reads what was sent
    if (held := established(waypost.port)) < options.idle + options.half_sent:
        raise Failure(f"only {held} connections are open, {time.monotonic() - began:.1f} s after the first")
    steps[f"{options.idle} dormant and {options.half_sent} half-sent"] = memory(waypost)
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
    parser.add_argument("--idle-tls", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=10, help="how long the idle process is watched (10)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if room < options.idle + options.half_sent + 100:
        raise Failure(f"{room} open files are allowed: raise `ulimit -n`")

    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary)}
    harness.write_links(directory / "links.jsonl", 1_000)
    pair = tls.make_certificate(directory)
    certificates = {"WAYPOST__TLS__DIRECTORY": str(pair)}
    start = lambda name: harness.Waypost(binary, directory / name, directory / "links.jsonl", {0, 1}, env=certificates,
                                         tables=["tls = true"]).ready()
    waypost = start("run-tls")
    time.sleep(3)  # what a start leaves to be done later
    record["idle_cpu"] = cpu = idle_cpu(waypost, options.seconds)
    tls_steps = drive_tls(waypost, options)
    waypost.stop()
    waypost = start("run")
    record["steps"] = steps = {**drive(waypost, options), **tls_steps}

    base, idle, dormant, half = (list(steps.values())[at]["VmRSS"] for at in (1, 2, 3, 4))
    tls_base, tls_idle, tls_dormant = (one["VmRSS"] for one in tls_steps.values())
    text = f"{'':44}{'resident':>12}{'anonymous':>12}{'files':>12}{'shared':>12}   MiB\n"
    for name, step in steps.items():
        text += f"{name:44}" + "".join(f"{size / 2**20:12.1f}" for size in step.values()) + "\n"
    a_tls = lambda held: f"{(held - tls_base) / options.idle_tls:.0f} bytes"
    text += (f"an idle connection: {(idle - base) / options.idle:.0f} bytes, dormant {(dormant - base) / options.idle:.0f} bytes; "
             f"a half-sent one: {(half - dormant) / options.half_sent:.0f} bytes; an idle TLS connection: {a_tls(tls_idle)}, dormant "
             f"{a_tls(tls_dormant)} (the kernel's socket memory apart)\n"
             f"CPU of the idle process: {100 * cpu:.2f} % of a core\n")
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
