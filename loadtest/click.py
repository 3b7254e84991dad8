"""CPU microseconds a click: Waypost, nginx and the floor, one core each in turn, the same requests. See click.sh.

1. Links, request sets, servers. The server under test has core 0 to itself: all of Waypost's threads, nginx's worker
   or the floor. The generator and this script have core 1.
2. Before a round each server is asked once: it must answer 302 with a cookie. A round is one run of wrk.
3. CPU time is the kernel's own count in nanoseconds. nginx is counted until its log holds every request, Waypost's
   worker thread for itself, and the whole of Waypost until its backlog is zero and every answered click is delivered.
4. Servers take turns, each round in another order; the figures are medians over the rounds, with least and greatest.
   A ratio is that of the medians, its spread that of the rounds' own ratios.

A run in which a request failed, or an answered click was not delivered, is no run: it ends with exit status 1.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import time

import harness
from harness import Failure, say

SERVER_CORE, OTHER_CORE = {0}, {1}
CONNECTIONS = 64
LINKS = 10_000
COOKIES = 64
FLUSH = 0.1  # seconds between two flushes of a worker's counters


# --- who is measured ------------------------------------------------------------------------------------------------

class Floor:
    """The epoll program of floor.c, answering with the bytes of Waypost's own answer."""

    names = ["floor"]

    def __init__(self, directory, answer):
        program, bytes_file = directory / "floor", directory / "floor.answer"
        bytes_file.write_bytes(answer)
        subprocess.run(["gcc", "-O2", "-o", program, harness.HERE / "floor.c"], check=True)
        self.port = harness.free_port()
        self.process = harness.Process("floor", [program, self.port, bytes_file], SERVER_CORE, directory / "floor.log")
        self.process.wait_until(lambda: _answers(self.port), "it answers", 10)

    def before(self):
        return harness.process_ns(self.process.pid)

    def after(self, before, _requests):
        return {"floor": harness.process_ns(self.process.pid) - before}


class Nginx:
    """One nginx with one worker; `variant` is which of its two servers, `buffered` or `unbuffered`."""

    def __init__(self, shared, variant):
        self.process, self.worker, ports, directory = shared
        self.port, self.log, self.names = ports[variant], directory / f"{variant}.log", [f"nginx, log {variant}"]

    @staticmethod
    def start(directory, links, listen="", tls=""):
        """`listen` are more words for each server's listener, `tls` directives for both servers."""
        ports = {"buffered": harness.free_port(), "unbuffered": harness.free_port()}
        entries = (f"/{harness.code_of(n)} {harness.destination_of(n)};\n" for n in range(links))
        (directory / "map.conf").write_text("".join(entries))
        shutil.copy(harness.HERE / "nginx-click.conf", directory / "click.conf")
        text = (harness.HERE / "nginx.conf.in").read_text()
        for place, value in {
            "DIR": directory, "USER": "user root;" if os.geteuid() == 0 else "",
            "BUFFERED_PORT": ports["buffered"], "UNBUFFERED_PORT": ports["unbuffered"], "LISTEN": listen, "TLS": tls,
        }.items():
            text = text.replace(f"@{place}@", str(value))
        (directory / "nginx.conf").write_text(text)
        process = harness.Process("nginx", ["nginx", "-p", directory, "-c", directory / "nginx.conf"], SERVER_CORE,
                                  directory / "nginx.out")
        process.wait_until(lambda: all(_answers(port) for port in ports.values()), "it answers", 10)
        return process, harness.children_of(process.pid)[0], ports, directory

    def before(self):
        os.truncate(self.log, 0)
        return harness.process_ns(self.worker)

    def after(self, before, requests):
        lines, log = 0, open(self.log, "rb")

        def written():
            nonlocal lines
            while block := log.read(1 << 20):
                lines += block.count(b"\n")
            return lines >= requests

        with log:
            self.process.wait_until(written, f"its log holds {requests} lines", 30)
        return {self.names[0]: harness.process_ns(self.worker) - before}


class WaypostSubject:
    """Waypost with one worker: the worker thread alone, and the whole process until all is delivered (`harness.click_ns`)."""

    def __init__(self, waypost, sink):
        self.process, self.port, self.sink = waypost, waypost.port, sink
        self.names = [f"waypost to {sink}: worker thread", f"waypost to {sink}: whole process"]
        self.threads = None

    def before(self):
        pid = self.process.pid
        time.sleep(2 * FLUSH)  # the checks before the round are counted by then
        self.earlier = self.process.settled()["waypost_clicks_delivered_total"]
        return harness.thread_ns(pid, "wp-worker-"), harness.click_ns(self.process)

    def after(self, before, requests):
        pid = self.process.pid
        worker = harness.thread_ns(pid, "wp-worker-") - before[0]
        now = self.process.settled(self.earlier + requests)
        whole = harness.click_ns(self.process) - before[1]
        clicks = now["waypost_clicks_delivered_total"] - self.earlier
        # The generator hangs up on the answers that are still on their way: one a connection at most.
        if clicks > requests + CONNECTIONS:
            raise Failure(f"{requests} requests were answered, but {clicks:.0f} clicks delivered")
        self.threads = harness.threads_ns(pid)
        return dict(zip(self.names, (worker, whole)))


def _answers(port):
    try:
        return harness.exchange(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1)
    except OSError:
        return None


# --- the requests ---------------------------------------------------------------------------------------------------

def template(name):
    return (harness.HERE / "requests" / f"{name}.txt").read_text().strip().replace("\n", "\r\n")


def head(text, code, cookie=None):
    text = text.replace("{code}", code)
    return (text + (f"\r\nCookie: {cookie}" if cookie else "") + "\r\n\r\n").encode("ascii")


def take_cookies(waypost, text):
    """Cookies of so many buyers, each from an answer of the running Waypost."""
    cookies = []
    for number in range(COOKIES):
        answer = harness.exchange(waypost.port, head(text, harness.code_of(number)))
        lines = [line for line in answer.decode("latin-1").split("\r\n") if line.lower().startswith("set-cookie:")]
        if len(lines) != 1:
            raise Failure(f"one Set-Cookie was expected:\n{answer.decode('latin-1')}")
        cookies.append(lines[0].split(":", 1)[1].split(";")[0].strip())
    return cookies


class Play:
    """A subject and the file of requests it gets: one a link, and in-app every second one with a valid cookie."""

    def __init__(self, subject, directory, name, cookies):
        self.subject, self.cookie, self.text = subject, cookies[0], template(name)
        self.requests = directory / f"{name}.{getattr(subject, 'sink', 'file')}.requests"
        with open(self.requests, "wb") as out:
            for number in range(LINKS):
                cookie = cookies[number // 2 % COOKIES] if name == "in-app" and number % 2 else None
                out.write(head(self.text, harness.code_of(number), cookie))


# --- rounds ---------------------------------------------------------------------------------------------------------

def check(play):
    """The server must answer with 302, the destination and a cookie, to a first and to a returning buyer."""
    location = f"\r\nlocation: {harness.destination_of(1)}".lower()
    for cookie in (None, play.cookie):
        answer = harness.exchange(play.subject.port, head(play.text, harness.code_of(1), cookie)).decode("latin-1")
        lower = answer.lower()
        if not lower.startswith("http/1.1 302") or "\r\nset-cookie: " not in lower or location not in lower:
            raise Failure(f"{play.subject.names[0]} does not answer as it should:\n{answer}")


def run_wrk(port, requests, seconds, pause_ms=0):
    """Plays the file of requests for so long, each connection pausing before each request."""
    ran = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", harness.HERE / "requests.lua",
         f"http://{harness.HOST}:{port}", "--", requests, str(pause_ms)],
        capture_output=True, text=True, check=True)
    result = json.loads(ran.stdout.strip().splitlines()[-1])
    if result["status_errors"] or result["socket_errors"] or not result["requests"]:
        raise Failure(f"wrk met errors: {result}")
    return result


def one_round(play, seconds):
    """One run of the generator: for each of the subject's names, microseconds a request and what wrk saw."""
    before = play.subject.before()
    wrk = run_wrk(play.subject.port, play.requests, seconds)
    spent = play.subject.after(before, wrk["requests"])
    return {name: {"us": ns / 1000 / wrk["requests"], **wrk} for name, ns in spent.items()}


def measure(plays, options):
    """All rounds of one request set: name → its rounds in order."""
    rounds = {name: [] for play in plays for name in play.subject.names}
    for number in range(options.rounds + 1):
        turn = number % len(plays)
        for play in plays[turn:] + plays[:turn]:
            check(play)
            for name, result in one_round(play, options.seconds).items():
                if number:  # round 0 warms up
                    rounds[name].append(result)
        say(f"  round {number} of {options.rounds}" + ("" if number else " (warm-up, not counted)"))
    return rounds


# --- figures --------------------------------------------------------------------------------------------------------

def figures(rounds):
    """Medians, spreads and ratios; the yardstick is the nginx whose median is lower."""
    us = {name: [one["us"] for one in ones] for name, ones in rounds.items()}
    median = {name: statistics.median(values) for name, values in us.items()}
    yardstick = min((name for name in us if name.startswith("nginx")), key=median.get)

    def ratio(over, under):
        each = [a / b for a, b in zip(over, under)]
        return {"of_medians": statistics.median(over) / statistics.median(under), "min": min(each), "max": max(each)}

    table = {name: {"us": median[name], "min": min(values), "max": max(values), "to_nginx": ratio(values, us[yardstick]),
                    "per_second": statistics.median(one["requests"] / one["seconds"] for one in rounds[name])}
             for name, values in us.items()}
    above = [b - f for b, f in zip(us[yardstick], us["floor"])]
    own = {name: ratio([a - f for a, f in zip(values, us["floor"])], above)
           for name, values in us.items() if "worker" in name}
    return {"yardstick": yardstick, "table": table, "above_floor": own}


def rendered(name, result, options):
    wide = max(len(one) for one in result["table"]) + 2
    lines = [f"{name}: {options.rounds} rounds of {options.seconds} s in turn, wrk -t1 -c{CONNECTIONS}; "
             f"CPU microseconds a request, median (least-greatest)",
             f"{'':{wide}}{'us':>7}  {'':13}{'x nginx':>8}  {'':13}{'requests/s':>10}"]
    for label, row in result["table"].items():
        to = row["to_nginx"]
        lines.append(f"{label:{wide}}{row['us']:7.2f}  {'(%.2f-%.2f)' % (row['min'], row['max']):13}"
                     f"{to['of_medians']:8.2f}  {'(%.2f-%.2f)' % (to['min'], to['max']):13}{row['per_second']:10.0f}"
                     + ("  <- yardstick" if label == result["yardstick"] else ""))
    for label, own in result["above_floor"].items():
        lines.append(f"({label} - floor) / (nginx - floor): {own['of_medians']:.2f} ({own['min']:.2f}-{own['max']:.2f})")
    return "\n".join(lines) + "\n"


def over_limit(result, options):
    """The ratios that exceed what the command line allows, as sentences."""
    for part, limit in (("worker", options.worker_at_most), ("whole", options.whole_at_most)):
        for label, row in result["table"].items():
            if limit and f"to file: {part}" in label and row["to_nginx"]["of_medians"] > limit:
                yield f"{label}: {row['to_nginx']['of_medians']:.2f} x nginx, at most {limit} was asked for"


# --- the run --------------------------------------------------------------------------------------------------------

def arguments():
    parser = argparse.ArgumentParser(description="CPU a click beside nginx and the floor.")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds (9)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a round (1)")
    parser.add_argument("--sets", default="lean,in-app", help="request sets (lean,in-app)")
    parser.add_argument("--kafka", action="store_true", help="also Waypost streaming to a real Kafka on this machine")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    parser.add_argument("--note", default="", help="a remark that is kept with the run")
    parser.add_argument("--worker-at-most", type=float, help="fail if worker / nginx exceeds this in the last set")
    parser.add_argument("--whole-at-most", type=float, help="fail if whole process / nginx exceeds this in the last set")
    return parser.parse_args()


def start_waypost(binary, directory, links, options):
    """Waypost to files, and with --kafka a second one to a broker that shares the generator's core."""
    started = {"file": harness.Waypost(binary, directory / "file", links, SERVER_CORE).ready()}
    if options.kafka:
        import broker
        kafka = broker.Broker(directory / "broker", OTHER_CORE)
        broker.make_topics(binary, kafka.address)
        started["Kafka"] = harness.Waypost(binary, directory / "kafka", links, SERVER_CORE, kafka=kafka.address).ready()
    return started


def main():
    options, binary = arguments(), os.environ["WAYPOST_BIN"]
    os.sched_setaffinity(0, OTHER_CORE)
    record = {"setup": harness.setup(binary), "note": options.note, "sets": {}}
    directory = harness.scratch_dir()
    links = directory / "links.jsonl"
    harness.write_links(links, LINKS)
    started = start_waypost(binary, directory, links, options)
    nginx = Nginx.start(directory, LINKS)
    # Each Waypost has its own keys, so each gets its own cookies back; the others get the first one's.
    cookies = {sink: take_cookies(waypost, template("in-app")) for sink, waypost in started.items()}

    text = ("" if not options.note else options.note + "\n") + json.dumps(record["setup"], indent=1) + "\n"
    failed = []
    for name in options.sets.split(","):
        say(f"{name}:")
        returning = head(template(name), harness.code_of(1), cookies["file"][0])
        floor = Floor(directory, harness.exchange(started["file"].port, returning))
        waypost = [WaypostSubject(process, sink) for sink, process in started.items()]
        rounds = measure(
            [Play(subject, directory, name, cookies[getattr(subject, "sink", "file")])
             for subject in [floor, Nginx(nginx, "buffered"), Nginx(nginx, "unbuffered"), *waypost]], options)
        floor.process.stop()
        result = figures(rounds)
        record["sets"][name] = {**result, "rounds": rounds}
        failed = list(over_limit(result, options))
        text += "\n" + rendered(name, result, options)
    harness.keep(options.name, text, record)
    if failed:
        raise Failure("\n".join(failed))


if __name__ == "__main__":
    harness.run(main)
