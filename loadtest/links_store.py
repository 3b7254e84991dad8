"""Links kept in the catalog, at size: start, look-ups, bulk changes under clicks, single durable writes. See links.sh.

The catalog is filled by `waypost links add` on a data directory; then a server without a links file starts on it.
"""
import argparse
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import threading
import time

import click
import harness
import steady
from harness import HOST, Failure, say


class Store:
    """A data directory whose catalog holds `count` links, and the key of its API."""

    def __init__(self, binary, directory, count):
        self.binary, self.directory, self.count = binary, directory, count
        self.data = directory / "data"
        directory.mkdir(parents=True, exist_ok=True)
        links = directory / "links.jsonl"
        say(f"writing {count} links")
        harness.write_links(links, count)
        began = time.monotonic()
        self.run("links", "add", links, "--reason", "load test")
        self.fill_seconds = time.monotonic() - began
        say(f"{count} links added in {self.fill_seconds:.1f} s")
        links.unlink()
        self.key = self.run("api-keys", "new", "--name", "load", "--scope", "read,write,suspend,admin").strip()

    def run(self, *words):
        command = [self.binary, *words, "--data-dir", self.data]
        ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=self.directory)
        if ran.returncode:
            raise Failure(f"{' '.join(map(str, words[:2]))} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-2000:]}")
        return ran.stdout

    def file_bytes(self):
        return sum(path.stat().st_size for path in self.data.glob("catalog.db*"))

    def serve(self, cores):
        return harness.Waypost(self.binary, self.directory, None, cores)


def url_bytes(count):
    """The mean bytes of a link's URL, of a sample of all numbers."""
    step = max(1, count // 100_000)
    urls = [len(harness.destination_of(number)) for number in range(0, count, step)]
    return sum(urls) / len(urls)


# --- load -----------------------------------------------------------------------------------------------------------

def start(store, seconds):
    began = time.monotonic()
    waypost = store.serve({0, 1}).ready(seconds)
    return waypost, time.monotonic() - began


def load(binary, directory, options):
    """Seconds until ready, and resident bytes a link."""
    one = Store(binary, directory / "one", 1)
    many = Store(binary, directory / "many", options.count)
    record = {"fill_seconds": many.fill_seconds, "file_bytes": many.file_bytes(), "starts": {"one": [], "many": []}}
    for _ in range(options.rounds):
        for name, store in (("one", one), ("many", many)):
            waypost, seconds = start(store, 600)
            record["starts"][name].append({"seconds": seconds, "resident": harness.status_bytes(waypost.pid, "VmRSS"),
                                           "peak": harness.status_bytes(waypost.pid, "VmHWM")})
            waypost.stop(120)
    middle = {name: {field: statistics.median(one[field] for one in starts) for field in starts[0]}
              for name, starts in record["starts"].items()}
    each, url = (middle["many"]["resident"] - middle["one"]["resident"]) / options.count, url_bytes(options.count)
    seconds = [one["seconds"] for one in record["starts"]["many"]]
    text = (f"{options.count} links in the catalog, {record['file_bytes'] / 2**20:.0f} MiB of files; added by one command in "
            f"{record['fill_seconds']:.0f} s ({1e6 * record['fill_seconds'] / options.count:.0f} µs a link)\n"
            f"ready after {statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f}, {options.rounds} starts), "
            f"with one link after {middle['one']['seconds']:.2f} s\n"
            f"resident {middle['many']['resident'] / 2**20:.0f} MiB (at most {middle['many']['peak'] / 2**20:.0f} MiB), "
            f"with one link {middle['one']['resident'] / 2**20:.0f} MiB: {each:.0f} bytes a link, "
            f"{each - url:.0f} beyond its URL of {url:.0f}\n")
    return text, record


# --- bulk -----------------------------------------------------------------------------------------------------------

def write_requests(directory, count):
    """A file of requests for links all over the table."""
    path, text = directory / "clicks.requests", click.template("in-app")
    step = max(1, count // click.LINKS)
    path.write_bytes(b"".join(click.head(text, harness.code_of(number * step)) for number in range(min(count, click.LINKS))))
    return path


def post_bulk(port, key, numbers, created):
    """Sends upserts of these links in one request; returns the seconds and the summary."""
    def rows():
        part = []
        for number in numbers:
            part.append(f'{{"code":"{harness.code_of(number)}","url":"{harness.destination_of(number)}&v=2","kind":"product",'
                        f'"creator":"c_{number % 5000}","creator_type":"affiliate","partner":"tap_{number % 40}",'
                        f'"seller":"s_{number % 300}","product":"{1700000000 + number}","plan":"targeted","rate_bp":1200,'
                        f'"created_at":"{created}"}}\n')
            if len(part) == 500:
                yield "".join(part).encode()
                part.clear()
        yield "".join(part).encode()

    connection = http.client.HTTPConnection(HOST, port, timeout=600)
    began = time.monotonic()
    connection.request("POST", "/v1/bulk?mode=each&reason=bulk", body=rows(), encode_chunked=True,
                       headers={"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    body = answer.read().decode()
    seconds = time.monotonic() - began
    if answer.status != 200:
        raise Failure(f"bulk: {answer.status} {body[-500:]}")
    return seconds, json.loads(body.splitlines()[-1])


def bulk_under_clicks(store, waypost, generator, requests, numbers, created, options):
    """Sends upserts while clicks come; their microseconds and what the bulk took, once with a client that shares the cores with the
    server and once with one that uses what the server leaves, as a client on another machine does."""
    half = len(numbers) // 2
    for name, part in (("same_class", numbers[:half]), ("idle_class", numbers[half:])):
        result = {}

        def send():
            if name == "idle_class":
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread
            result["seconds"], result["summary"] = post_bulk(waypost.admin, store.key, part, created)

        sender = threading.Thread(target=send)
        sender.start()
        busy = []
        while sender.is_alive():
            busy += generator.run(waypost.port, requests, options.rate, 1)["us"]  # the last one outlasts the bulk
        sender.join()
        if not result:
            raise Failure("the bulk request failed")
        yield name, len(part), result, sorted(busy)


def give_worker_a_core(waypost):
    """The worker's thread has core 0 to itself; the other threads of the server, the generator and the client share core 1."""
    for task in pathlib.Path(f"/proc/{waypost.pid}/task").iterdir():
        is_worker = (task / "comm").read_text().startswith("wp-worker")
        os.sched_setaffinity(int(task.name), {0} if is_worker else {1})
    os.sched_setaffinity(0, {1})


def bulk(binary, directory, options):
    """A bulk of upserts into a full catalog while clicks come, against the same clicks alone."""
    store = Store(binary, directory / "store", options.count)
    first = json.loads(store.run("links", "show", harness.code_of(0)))
    waypost, ready_seconds = start(store, 600)
    resident = harness.status_bytes(waypost.pid, "VmRSS")
    requests, generator = write_requests(directory, options.count), steady.Steady(directory)
    names = ("quiet", "same_class", "idle_class")
    rounds = {name + core: [] for core in ("", "_own_core") for name in names}
    rows = options.rows // options.rounds

    def figures(us):
        return {"p50_us": steady.at(0.5, us), "p99_us": steady.at(0.99, us), "most_us": us[-1], "clicks": len(us)}

    def run_round(turn, core):
        rounds["quiet" + core].append(figures(generator.run(waypost.port, requests, options.rate, 10)["us"]))
        numbers = range(turn * rows, (turn + 1) * rows)
        for name, count, result, busy in bulk_under_clicks(store, waypost, generator, requests, numbers, first["created_at"], options):
            rounds[name + core].append({**figures(busy), **result, "rows": count, "row_us": 1e6 * result["seconds"] / count})
            say(f"{name + core}: {rounds[name + core][-1]}")

    for turn in range(options.rounds):
        run_round(turn, "")
    give_worker_a_core(waypost)
    for turn in range(options.rounds):
        run_round(options.rounds + turn, "_own_core")
    waypost.stop(120)
    middle = {name: {field: statistics.median(one[field] for one in ones) for field in ones[0] if field.endswith("_us")}
              for name, ones in rounds.items()}
    text = (f"{options.count} links added in {store.fill_seconds:.0f} s, ready after {ready_seconds:.1f} s, resident "
            f"{resident / 2**20:.0f} MiB\n"
            f"{2 * rows * options.rounds} upserts in {4 * options.rounds} requests; clicks beside them, {options.rate}/s, medians of "
            f"{options.rounds} rounds, µs\n")
    for core, where in (("", "all threads on both cores"), ("_own_core", "the worker on a core of its own, all else on the other")):
        quiet = middle["quiet" + core]
        text += f"{where}\n{'  no upserts':54} p50 {quiet['p50_us']:5.0f}   p99 {quiet['p99_us']:5.0f}            most {quiet['most_us']:6.0f}\n"
        for name, words in (("same_class", "  a client that shares the cores with the server"),
                            ("idle_class", "  a client that takes what the server leaves")):
            one = middle[name + core]
            text += (f"{words:54} p50 {one['p50_us']:5.0f}   p99 {one['p99_us']:5.0f} = {one['p99_us'] / quiet['p99_us']:4.2f} ×   "
                     f"most {one['most_us']:6.0f}   {one['row_us']:4.0f} µs a row\n")
    return text, {"fill_seconds": store.fill_seconds, "ready_seconds": ready_seconds, "resident": resident, "rounds": rounds}


# --- write ----------------------------------------------------------------------------------------------------------

def sync_costs(directory, count):
    """Milliseconds of a 4 KiB append and fdatasync, sorted."""
    times = []
    with open(directory / "sync", "ab", buffering=0) as out:
        for _ in range(count):
            began = time.monotonic()
            out.write(b"x" * 4096)
            os.fdatasync(out.fileno())
            times.append(1000 * (time.monotonic() - began))
    return sorted(times)


def create_links(port, key, numbers):
    """Creates links one after another on one connection; milliseconds of each."""
    connection, times = http.client.HTTPConnection(HOST, port, timeout=30), []
    for number in numbers:
        body = json.dumps({"url": harness.destination_of(number), "kind": "plain", "creator": "c_1"})
        began = time.monotonic()
        connection.request("POST", "/v1/links", body=body, headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        times.append(1000 * (time.monotonic() - began))
        if answer.status != 201:
            raise Failure(f"create: {answer.status}")
    return times


def write(binary, directory, options):
    """Durable creates, one at a time and by eight clients, and what a sync costs here."""
    store = Store(binary, directory / "store", options.count)
    waypost = store.serve({0, 1}).ready(600)
    record = {"alone": [], "eight": [], "syncs": []}
    for turn in range(options.rounds):
        record["syncs"].append(sync_costs(directory, options.writes))
        record["alone"].append(sorted(create_links(waypost.admin, store.key, range(options.writes))))
        times, lock = [], threading.Lock()

        def client():
            mine = create_links(waypost.admin, store.key, range(options.writes // 8))
            with lock:
                times.extend(mine)

        clients = [threading.Thread(target=client) for _ in range(8)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        if len(times) != options.writes // 8 * 8:
            raise Failure("a client failed")
        record["eight"].append(sorted(times))
    waypost.stop(120)
    text = f"durable creates into {options.count} links, ms, medians of {options.rounds} rounds of {options.writes}\n"
    for name, words in (("syncs", "4 KiB and fdatasync alone"), ("alone", "create, one client"), ("eight", "create, eight clients")):
        p50, p99, most = (statistics.median(steady.at(share, times) for times in record[name]) for share in (0.5, 0.99, 1))
        text += f"{words:28} p50 {p50:7.2f}   p99 {p99:7.2f}   most {most:7.2f}\n"
    return text, {name: [[steady.at(share, times) for share in (0, 0.5, 0.9, 0.99, 1)] for times in rounds]
                  for name, rounds in record.items()}


MEASUREMENTS = {"load": load, "bulk": bulk, "write": write}


def main():
    parser = argparse.ArgumentParser(description="Links kept in the catalog, at size.")
    parser.add_argument("measurement", choices=MEASUREMENTS)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000, help="links in the catalog (1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--rows", type=int, default=300_000, help="bulk: upserts in all (300000)")
    parser.add_argument("--rate", type=int, default=2000, help="bulk: clicks a second (2000)")
    parser.add_argument("--writes", type=int, default=400, help="write: creates a round (400)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], pathlib.Path(harness.scratch_dir())
    record = {"setup": harness.setup(binary), "options": vars(options)}
    text, record["measured"] = MEASUREMENTS[options.measurement](binary, directory, options)
    setup = record["setup"]
    text = (f"{setup['cpu']}, {setup['cores']} cores, {setup['memory_mib']} MiB, load average {setup['load_average_before']:.1f} before\n" + text)
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
