"""CPU microseconds a click, from the request to the acknowledged record in Kafka, of servers that do the same job. See
same-job.sh.

1. Every server looks the code up in a map of all links, answers 302 with a cookie, and has a JSON record of the click
   written to its own topic of one Kafka node: LZ4, acks=all. nginx writes its access log and rsyslog follows it (imfile,
   omkafka); HAProxy sends its log to rsyslog by TCP; Waypost does it alone. A bare hyper server and the floor answer
   and record nothing.
2. The server and whatever writes its records have core 0 to themselves. The generator, Kafka and this script have core 1.
3. A round is one run of wrk. CPU time is the kernel's count in nanoseconds of all processes of the server, until the end
   offsets of its topic have grown by every request. A server that loses a record ends the run without figures, but for
   HAProxy: its ring drops what rsyslog is too slow for, so its loss is stated.
4. Servers take turns; figures are medians over the rounds, with least and greatest, and ratios to nginx with rsyslog.
"""
import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import time

import bars
import broker
import click
import harness
from harness import Failure, say

BASE = "nginx + rsyslog"
RSYSLOG = """\
global(workDirectory="{directory}" maxMessageSize="64k")
module(load="omkafka")
{input}
template(name="record" type="string" string="%msg%")
ruleset(name="clicks" queue.type="LinkedList" queue.size="2000000" queue.dequeueBatchSize="4096" queue.workerThreads="1") {{
  action(type="omkafka" broker=["{brokers}"] topic="{topic}" template="record" partitions.auto="on" resubmitOnFailure="on"
    action.resumeRetryCount="-1" keepFailedMessages="on" failedMsgFile="{directory}/failed"
    confParam=["compression.codec=lz4", "acks=all", "linger.ms=5", "batch.num.messages=10000",
               "queue.buffering.max.messages=200000"])
}}
"""
FOLLOW_FILE = """module(load="imfile" mode="inotify")
input(type="imfile" File="{log}" Tag="click" ruleset="clicks")"""
TAKE_TCP = """module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="{port}" ruleset="clicks")"""
HAPROXY = """\
global
  nbthread 1
  maxconn 4096
  log ring@clicks len 8192 local0
ring clicks
  format rfc5424
  maxlen 8192
  size 67108864
  timeout connect 5s
  timeout server 60s
  server rsyslog 127.0.0.1:{syslog} log-proto octet-count
defaults
  mode http
  log global
  timeout client 75s
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout connect 5s
  timeout server 5s
frontend clicks
  bind 127.0.0.1:{port}
  http-request set-var(txn.target) path,map({directory}/haproxy.map)
  http-request set-var(txn.code) path
  http-request set-var(txn.id) uuid()
  http-request set-var(txn.query) query
  http-request set-var(txn.agent) req.hdr(user-agent)
  http-request set-var(txn.referer) req.hdr(referer)
  http-request set-var(txn.language) req.hdr(accept-language)
  http-request set-var(txn.app) req.hdr(x-requested-with)
  http-request set-var(txn.cookie) req.hdr(cookie)
  http-request set-var(txn.mode) req.hdr(sec-fetch-mode)
  http-request set-var(txn.dest) req.hdr(sec-fetch-dest)
  http-request set-var(txn.host) req.hdr(host)
  log-format '{{"id":"%[var(txn.id)]","time":"%Ts.%ms","domain":"%[var(txn.host),json(utf8s)]","code":"%[var(txn.code),json(utf8s)]","query":"%[var(txn.query),json(utf8s)]","destination":"%[var(txn.target),json(utf8s)]","status":%ST,"method":"%HM","http":"%HV","address":"%ci","agent":"%[var(txn.agent),json(utf8s)]","referer":"%[var(txn.referer),json(utf8s)]","language":"%[var(txn.language),json(utf8s)]","app":"%[var(txn.app),json(utf8s)]","cookie":"%[var(txn.cookie),json(utf8s)]","fetch":"%[var(txn.mode),json(utf8s)]/%[var(txn.dest),json(utf8s)]"}}'
  http-request return status 404 unless {{ var(txn.target) -m found }}
  http-request return status 302 hdr Location "%[var(txn.target)]&wp=%[var(txn.id)]" hdr Set-Cookie "__Host-wp=%[var(txn.id)]; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax" hdr Cache-Control "private, no-store" hdr Referrer-Policy strict-origin-when-cross-origin hdr X-Robots-Tag noindex
"""


# --- Kafka ----------------------------------------------------------------------------------------------------------

def end_offsets(address, topic):
    """The sum of the end offsets of a topic's partitions: one ListOffsets request, version 1."""
    host, port = address.split(":")
    name = struct.pack(">h", len(topic)) + topic.encode()
    partitions = 64
    body = struct.pack(">hhihii", 2, 1, 1, -1, -1, 1) + name + struct.pack(">i", partitions)
    body += b"".join(struct.pack(">iq", number, -1) for number in range(partitions))
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(struct.pack(">i", len(body)) + body)
        answer, total = b"", 0
        while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
            more = peer.recv(65536)
            if not more:
                raise Failure("Kafka closed the connection")
            answer += more
    at = 4 + 4 + 4 + len(name)
    for number in range(struct.unpack(">i", answer[at:at + 4])[0]):
        _, error, _, offset = struct.unpack(">ihqq", answer[at + 4 + 22 * number:at + 26 + 22 * number])
        if error == 0:
            total += offset
        elif error != 3:  # 3: there is no such partition
            raise Failure(f"Kafka answers error {error} about {topic}")
    return total


def make_topics(binary, address, topic):
    """The topics of one server, as Waypost recommends them."""
    names = {"CLICKS": topic, "ORPHAN": f"{topic}.orphan", "LANES": f"{topic}.lanes", "CHECKPOINTS": f"{topic}.checkpoints"}
    env = {f"WAYPOST__KAFKA__TOPICS__{key}": name for key, name in names.items()}
    made = subprocess.run([binary, "kafka", "setup", "--apply", "--replication", "1", "--kafka", address],
                          capture_output=True, text=True, env={**os.environ, **env})
    if made.returncode:
        raise Failure(f"`waypost kafka setup` failed:\n{made.stdout}{made.stderr}")
    return env


# --- who is measured ------------------------------------------------------------------------------------------------

class Subject:
    """A server: its processes with the names of its parts, and the topic of its records, if it has one."""

    may_lose = False

    def __init__(self, name, port, parts, kafka=None, topic=None):
        self.name, self.port, self.parts, self.kafka, self.topic = name, port, parts, kafka, topic
        self.names = [name]

    def spent(self):
        return {part: read() for part, read in self.parts.items()}

    def arrived(self):
        return end_offsets(self.kafka.address, self.topic)

    def wait_for(self, expected, seconds=120):
        """Waits until so many records are in the topic; returns how many of them are missing."""
        end, last, moved = time.monotonic() + seconds, -1, time.monotonic()
        while (now := self.arrived()) < expected:
            if now != last:
                last, moved = now, time.monotonic()
            if time.monotonic() > end or (self.may_lose and time.monotonic() - moved > 5):
                if not self.may_lose:
                    raise Failure(f"{self.name}: {expected - now} records of the round did not arrive in {seconds} s")
                return expected - now
            time.sleep(0.05)
        return 0


def cpu_of(pid):
    return lambda: harness.process_ns(pid)


def start_rsyslog(directory, kafka, topic, source):
    directory.mkdir()
    config = directory / "rsyslog.conf"
    config.write_text(RSYSLOG.format(directory=directory, brokers=kafka.address, topic=topic, input=source))
    return harness.Process("rsyslog", ["rsyslogd", "-n", "-f", config, "-i", directory / "pid"], click.SERVER_CORE,
                           directory / "rsyslog.log")


def start_nginx(directory, kafka, links):
    process, worker, ports, place = click.Nginx.start(directory, links)
    rsyslog = start_rsyslog(directory / "rsyslog-nginx", kafka, "nginx", FOLLOW_FILE.format(log=place / "buffered.log"))
    parts = {"nginx": cpu_of(worker), "rsyslog": cpu_of(rsyslog.pid)}
    return Subject(BASE, ports["buffered"], parts, kafka, "nginx")


def start_haproxy(directory, kafka, links):
    syslog, port = harness.free_port(), harness.free_port()
    rsyslog = start_rsyslog(directory / "rsyslog-haproxy", kafka, "haproxy", TAKE_TCP.format(port=syslog))
    (directory / "haproxy.map").write_text(
        "".join(f"/{harness.code_of(n)} {harness.destination_of(n)}\n" for n in range(links)))
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(directory=directory, port=port, syslog=syslog))
    process = harness.Process("haproxy", ["haproxy", "-f", config, "-db"], click.SERVER_CORE, directory / "haproxy.log")
    process.wait_until(lambda: click._answers(port), "it answers", 30)
    subject = Subject("HAProxy + rsyslog", port, {"HAProxy": cpu_of(process.pid), "rsyslog": cpu_of(rsyslog.pid)}, kafka, "haproxy")
    subject.may_lose = True
    return subject


def start_waypost(binary, directory, memory, kafka, links, encoding, env):
    topic = f"waypost-{encoding}"
    ring = memory / topic
    ring.mkdir()
    env = {**env, "WAYPOST__JOURNAL__RING_DIR": str(ring)}
    process = harness.Waypost(binary, directory / topic, links, click.SERVER_CORE, kafka=kafka.address, env=env).ready()
    pid = process.pid
    worker = lambda: harness.thread_ns(pid, "wp-worker-")
    parts = {"worker": worker, "delivery": lambda: harness.process_ns(pid) - worker()}
    subject = Subject(f"Waypost, {encoding}", process.port, parts, kafka, topic)
    subject.process = process
    return subject


def takes_protobuf(binary):
    """Whether this build knows the configuration key of the encoding."""
    env = {**os.environ, "WAYPOST__KAFKA__ENCODING": "protobuf"}
    return subprocess.run([binary, "config", "show"], capture_output=True, env=env).returncode == 0


def start_subjects(options, binary, directory, memory, links_file):
    """The servers that were asked for, and the cookies that each of them is sent."""
    kafka = broker.Broker(directory / "broker", click.OTHER_CORE)
    wanted = options.only.split(",")
    subjects = []
    encodings = ["json"] + (["protobuf"] if takes_protobuf(binary) else [])
    for encoding in encodings:
        env = {**make_topics(binary, kafka.address, f"waypost-{encoding}"),
               **({"WAYPOST__KAFKA__ENCODING": encoding} if len(encodings) > 1 else {})}
        subjects.append(start_waypost(binary, directory, memory, kafka, links_file, encoding, env))
    plain = subjects[0]
    if "nginx" in wanted:
        make_topics(binary, kafka.address, "nginx")
        subjects.append(start_nginx(directory, kafka, options.links))
    if "haproxy" in wanted:
        make_topics(binary, kafka.address, "haproxy")
        subjects.append(start_haproxy(directory, kafka, options.links))
    if "hyper" in wanted:
        port = harness.free_port()
        process = harness.Process("bare hyper", [os.environ["BARE_HYPER_BIN"], port], click.SERVER_CORE, directory / "hyper.log")
        process.wait_until(lambda: click._answers(port), "it answers", 10)
        subjects.append(Subject("bare hyper, records nothing", port, {"server": cpu_of(process.pid)}))
    if "floor" in wanted:
        returning = click.head(click.template("in-app"), harness.code_of(1))
        floor = click.Floor(directory, harness.exchange(plain.port, returning))
        subjects.append(Subject("floor, records nothing", floor.port, {"server": cpu_of(floor.process.pid)}))
    return subjects


# --- rounds ---------------------------------------------------------------------------------------------------------

def one_round(play, seconds):
    """One run of the generator: microseconds a click of each part, and what arrived."""
    subject = play.subject
    if subject.topic:
        time.sleep(0.5)  # what the check before the round has caused is over
        earlier = subject.arrived()
    before = subject.spent()
    wrk = click.run_wrk(subject.port, play.requests, seconds)
    missing = subject.wait_for(earlier + wrk["requests"]) if subject.topic else 0
    spent = {part: (now - before[part]) / 1000 / wrk["requests"] for part, now in subject.spent().items()}
    return {"us": sum(spent.values()), "parts": spent, "missing": missing, **wrk}


def measure(plays, options):
    rounds = {play.subject.name: [] for play in plays}
    for number in range(options.rounds + 1):
        turn = number % len(plays)
        for play in plays[turn:] + plays[:turn]:
            if play.subject.topic:
                click.check(play)
            result = one_round(play, options.seconds)
            if number:  # round 0 warms up
                rounds[play.subject.name].append(result)
        say(f"  round {number} of {options.rounds}" + ("" if number else " (warm-up, not counted)"))
    return rounds


# --- figures --------------------------------------------------------------------------------------------------------

def figures(rounds):
    base = [one["us"] for one in rounds.get(BASE, [])]
    table = {}
    for name, ones in rounds.items():
        us = [one["us"] for one in ones]
        row = {"us": statistics.median(us), "min": min(us), "max": max(us),
               "parts": {part: statistics.median(one["parts"][part] for one in ones) for part in ones[0]["parts"]},
               "per_second": statistics.median(one["requests"] / one["seconds"] for one in ones),
               "missing": sum(one["missing"] for one in ones), "clicks": sum(one["requests"] for one in ones)}
        if base:
            each = [a / b for a, b in zip(us, base)]
            row["to_base"] = {"of_medians": row["us"] / statistics.median(base), "min": min(each), "max": max(each)}
        table[name] = row
    return table


def rendered(table, options):
    lines = [f"{options.rounds} rounds of {options.seconds} s in turn, in-app headers, {options.links} links, wrk -t1 -c64; "
             "CPU microseconds a click until its record is acknowledged, median (least-greatest)",
             f"{'':30}{'us':>7}{'':16}{'x ' + BASE:>18}{'':16}{'clicks/s':>9}  parts"]
    for name, row in table.items():
        line = f"{name:30}{row['us']:7.2f}  {'(%.2f-%.2f)' % (row['min'], row['max']):14}"
        if to := row.get("to_base"):
            line += f"{to['of_medians']:18.2f}  {'(%.2f-%.2f)' % (to['min'], to['max']):14}"
        line += f"{row['per_second']:9.0f}  " + ", ".join(f"{part} {us:.2f}" for part, us in row["parts"].items())
        lines.append(line)
    for name, row in table.items():
        if row["missing"]:
            lines.append(f"{name}: {row['missing']} of {row['clicks']} records never arrived")
    lines.append("every other click of a server that records arrived in Kafka (a run in which one does not ends without figures)")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="The whole job, beside others.")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds (9)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a round (2)")
    parser.add_argument("--links", type=int, default=100_000, help="links of each server (100000)")
    parser.add_argument("--only", default="nginx,haproxy,hyper,floor", help="servers beside Waypost (nginx,haproxy,hyper,floor)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME, with its plot")
    options, binary = parser.parse_args(), os.environ["WAYPOST_BIN"]
    os.sched_setaffinity(0, click.OTHER_CORE)
    click.LINKS = options.links
    record = {"setup": harness.setup(binary)}
    directory, memory = harness.scratch_dir(), harness.scratch_dir("/dev/shm")
    links = directory / "links.jsonl"
    harness.write_links(links, options.links)
    subjects = start_subjects(options, binary, directory, memory, links)
    plays = []
    for number, subject in enumerate(subjects):
        subject.sink = str(number)
        cookies = click.take_cookies(getattr(subject, "process", subjects[0].process), click.template("in-app"))
        plays.append(click.Play(subject, directory, "in-app", cookies))
    record["rounds"] = rounds = measure(plays, options)
    record["table"] = table = figures(rounds)
    harness.keep(options.name, json.dumps(record["setup"], indent=1) + "\n\n" + rendered(table, options), record)
    if options.name:
        plot = {name: (row["us"], row["min"], row["max"]) for name, row in table.items()}
        bars.write(harness.HERE / "results" / f"{options.name}.svg", "CPU microseconds a click, until its record is acknowledged", plot)


if __name__ == "__main__":
    harness.run(main)
