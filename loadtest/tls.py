"""CPU microseconds a click on a new connection, with TLS and without: Waypost and nginx, one core each in turn, the same certificate. See tls.sh.

1. One certificate (ECDSA P-256, made for this run) for both; TLS 1.3, one ticket a connection, no session cache, no early data.
   nginx has one worker and its access log buffered, as in click.py, the faster of its two logs there.
2. A click is a connection: connect, shake hands in full, one request with a phone's headers, the whole answer, close. Once by
   HTTP/1.1, once by HTTP/2, once more by HTTP/1.1 with the handshake resumed from a ticket, and by HTTP/1.1 without TLS.
3. CPU time is the kernel's own count in nanoseconds: of nginx's worker until its log holds every request; of Waypost's worker
   thread alone; of all of Waypost until every answered click is delivered to its file, without the thread that answers scrapes.
4. Servers and protocols take turns, each round in another order; figures are medians over the rounds, with least and greatest.
   A ratio is the median of the rounds' own ratios.
5. The floor (floor.c) reads a request and writes Waypost's own answer, and does nothing else: the kernel's part of a new connection.

A run in which an answer was not a 302 with a cookie, or a handshake not of the kind that is measured, is no run.
"""
import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess

import click
import harness
from harness import Failure, say

CONNECTIONS = 64
KINDS = {"HTTP/1.1": ("http/1.1", "full"), "HTTP/2": ("h2", "full"), "HTTP/1.1, resumed": ("http/1.1", "resumed"),
         "HTTP/1.1, no TLS": ("plain", "full")}
NGINX, WORKER, WHOLE, FLOOR = "nginx", "waypost: worker thread", "waypost: whole process", "floor"
# The floor (floor.c) has no TLS.
ROWS = {kind: (NGINX, WORKER, WHOLE) + ((FLOOR,) if protocol == "plain" else ()) for kind, (protocol, _) in KINDS.items()}
NAMES = {click.Nginx: (NGINX,), click.WaypostSubject: (WORKER, WHOLE), click.Floor: (FLOOR,)}


def make_certificate(directory):
    """A pair for go.example.com, self-signed: the chain's length is the same for both servers, and none of them checks it."""
    pairs = directory / "tls"
    pairs.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=go.example.com", "-addext", "subjectAltName=DNS:go.example.com",
                    "-keyout", pairs / "site.key", "-out", pairs / "site.crt"], check=True, capture_output=True)
    return pairs


def exchange(port, request):
    """One request on a new connection: the negotiated session, and the head of the answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((harness.HOST, port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname="go.example.com") as peer:
            peer.sendall(request)
            answer = harness.head(peer).decode("latin-1")
            return (peer.version(), *peer.cipher()), answer


def negotiated_session(subjects):
    """Both must answer with 302, destination and cookie, by the same version and cipher."""
    said = []
    for subject in subjects:
        session, answer = exchange(subject.port, click.head(click.template("in-app"), harness.code_of(1)))
        lower = answer.lower()
        if (not lower.startswith("http/1.1 302") or "\r\nset-cookie: " not in lower
                or f"\r\nlocation: {harness.destination_of(1)}".lower() not in lower):
            raise Failure(f"{subject.names[0]} does not answer as it should:\n{answer}")
        said.append(session)
    if said[0][0] != "TLSv1.3" or said[0][:2] != said[1][:2]:
        raise Failure(f"not the same handshake: {said}")
    return said[0]


def run_generator(program, port, kind, seconds, requests):
    protocol, handshake = KINDS[kind]
    ran = subprocess.run([program, str(port), str(CONNECTIONS), str(seconds), protocol, "1.3", handshake, requests],
                         capture_output=True, text=True)
    if ran.returncode:
        raise Failure(f"tls.c: {ran.stderr}")
    result = json.loads(ran.stdout)
    # The first connections have no ticket yet.
    unlike = result["resumed"] if handshake == "full" else max(0, result["requests"] - result["resumed"] - 2 * CONNECTIONS)
    if result["mistakes"] or unlike or not result["requests"]:
        raise Failure(f"{kind}: {result}\n{ran.stderr}")
    return result


def measure(subjects, program, requests, options):
    """All rounds of the servers of each kind: (kind, name) → microseconds a click, in order."""
    rounds = {(kind, name): [] for kind in KINDS for name in ROWS[kind]}
    turns = [(kind, subject) for kind in KINDS for subject in subjects[kind]]
    for number in range(options.rounds + 1):
        at = number % len(turns)
        for kind, subject in turns[at:] + turns[:at]:
            before = subject.before()
            result = run_generator(program, subject.port, kind, options.seconds, requests)
            for name, ns in zip(NAMES[type(subject)], subject.after(before, result["requests"]).values()):
                if number:  # round 0 warms up
                    rounds[kind, name].append({"us": ns / 1000 / result["requests"], **result})
        say(f"  round {number} of {options.rounds}" + ("" if number else " (warm-up, not counted)"))
    return rounds


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def figures(rounds):
    us = {key: [one["us"] for one in ones] for key, ones in rounds.items()}
    each = lambda over, under: spread([a / b for a, b in zip(us[over], us[under])])
    table = {kind: {name: {"us": spread(us[kind, name]), "to_nginx": each((kind, name), (kind, NGINX))}
                    for name in ROWS[kind]} for kind in KINDS}
    alpn = {name: each(("HTTP/2", name), ("HTTP/1.1", name)) for name in (NGINX, WORKER, WHOLE)}
    return {"table": table, "http2_to_http1": alpn}


def rendered(result, session, options):
    shown = lambda value: f"{value['median']:7.2f}  ({value['min']:.2f}-{value['max']:.2f})"
    lines = [f"{' '.join(session[:2])}: {options.rounds} rounds of {options.seconds} s in turn, {CONNECTIONS} connections at a time, a "
             f"click each; CPU microseconds a click, median (least-greatest)",
             f"{'':20}{'':26}{'us':>7}  {'':16}{'x nginx':>7}"]
    for kind, rows in result["table"].items():
        for name, row in rows.items():
            lines.append(f"{kind:20}{name:26}{shown(row['us']):25}{shown(row['to_nginx'])}")
    for name, ratio in result["http2_to_http1"].items():
        lines.append(f"HTTP/2 / HTTP/1.1, {name}:{shown(ratio)}")
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description="CPU a click on a new TLS connection, beside nginx.")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds (9)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a round (2)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    parser.add_argument("--at-most", type=float, help="fail if whole process / nginx exceeds this by HTTP/1.1 with a full handshake")
    return parser.parse_args()


def main():
    options, binary = arguments(), os.environ["WAYPOST_BIN"]
    os.sched_setaffinity(0, click.OTHER_CORE)
    record = {"setup": harness.setup(binary)}
    directory = harness.scratch_dir()
    pairs, program, links = make_certificate(directory), directory / "tls-generator", directory / "links.jsonl"
    subprocess.run(["gcc", "-O2", "-o", program, harness.HERE / "tls.c", "-lssl", "-lcrypto", "-lnghttp2"], check=True)
    harness.write_links(links, click.LINKS)
    requests, text = directory / "requests", click.template("in-app")
    requests.write_bytes(b"".join(click.head(text, harness.code_of(number)) for number in range(click.LINKS)))

    waypost = harness.Waypost(binary, directory / "file", links, click.SERVER_CORE,
                              env={"WAYPOST__TLS__DIRECTORY": str(pairs)},
                              tables=["tls = true, http2 = true"]).ready()
    plain = directory / "plain"
    plain.mkdir()
    without_tls = [click.Nginx(click.Nginx.start(plain, click.LINKS), "buffered"), click.WaypostSubject(waypost, "file")]
    without_tls.append(click.Floor(directory, harness.exchange(waypost.port, click.head(click.template("in-app"), harness.code_of(1)))))
    waypost.port = waypost.ports[0]
    nginx = click.Nginx.start(
        directory, click.LINKS, listen=" ssl http2",
        tls=f"ssl_certificate {pairs}/site.crt; ssl_certificate_key {pairs}/site.key; ssl_protocols TLSv1.2 TLSv1.3; "
            "ssl_session_cache off; ssl_session_tickets on; ssl_conf_command NumTickets 1;")
    subjects = [click.Nginx(nginx, "buffered"), click.WaypostSubject(waypost, "file")]
    session = negotiated_session(subjects)
    by_kind = {kind: without_tls if protocol == "plain" else subjects for kind, (protocol, _) in KINDS.items()}
    rounds = measure(by_kind, program, requests, options)
    result = figures(rounds)
    record |= {"session": session, **result, "rounds": {f"{kind}: {name}": ones for (kind, name), ones in rounds.items()}}
    text = json.dumps(record["setup"], indent=1) + "\n\n" + rendered(result, session, options)
    harness.keep(options.name, text, record)
    ratio = result["table"]["HTTP/1.1"][WHOLE]["to_nginx"]["median"]
    if options.at_most and ratio > options.at_most:
        raise Failure(f"whole process: {ratio:.2f} x nginx, at most {options.at_most} was asked for")


if __name__ == "__main__":
    harness.run(main)
