"""Three edges on one topic of links, a real Kafka: how soon a change that one edge answered is served by the last one. See links.sh.

A change is a link whose destination changes, or a suspension that begins or ends. Every edge is asked again and again by clicks until
its answer is the new one; the time runs from the moment at which the API answered. Once without other work, once during a bulk.
"""
import argparse
import http.client
import json
import os
import subprocess
import threading
import time

import broker
import harness
import links_store
import steady
from harness import HOST, Failure, say

TOPIC = "links.v1"
EDGES = 3


class Edge:
    """One edge on the topic, with a key of its API."""

    def __init__(self, binary, directory, kafka):
        env = {"WAYPOST__LINKS__TOPIC": TOPIC}
        data = directory / "data"
        directory.mkdir(parents=True)
        command = [binary, "api-keys", "new", "--name", "load", "--scope", "read,write,suspend", "--data-dir", data]
        self.key = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout.strip()
        self.waypost = harness.Waypost(binary, directory, None, {0, 1}, kafka=kafka.address, env=env)
        self.clicks = None

    def ask(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection(HOST, self.waypost.admin, timeout=60)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        connection.request(method, path, body=body and json.dumps(body), headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status >= 300:
            raise Failure(f"{method} {path}: {answer.status}")

    def location_of(self, code):
        """What a click on the code answers: where it leads, or its status. On one kept connection."""
        if self.clicks is None:
            self.clicks = http.client.HTTPConnection(HOST, self.waypost.port, timeout=10)
        self.clicks.request("GET", f"/{code}", headers={"User-Agent": "curl/8"})
        answer = self.clicks.getresponse()
        answer.read()
        return answer.getheader("Location") or str(answer.status)


def wait_for_all(edges, code, is_new):
    """Milliseconds until every edge answers the new way."""
    began = time.monotonic()
    for edge in edges:
        while not is_new(edge.location_of(code)):
            if time.monotonic() - began > 30:
                raise Failure(f"{code}: an edge still answers {edge.location_of(code)!r}")
            time.sleep(0.001)
    return 1000 * (time.monotonic() - began)


def change_links(edges, changes, code):
    """Each change goes to another edge. Milliseconds of the answers, and from there to the last edge."""
    answers, spreads = [], []
    for number in range(changes):
        url = f"https://shop.example.com/version/{time.monotonic_ns()}"
        began = time.monotonic()
        edges[number % EDGES].ask("PATCH", f"/v1/links/*/{code}", {"url": url}, "application/merge-patch+json")
        answers.append(1000 * (time.monotonic() - began))
        spreads.append(wait_for_all(edges, code, lambda location: location.startswith(url)))
    return sorted(answers), sorted(spreads)


def suspend(writer, edges, changes, code):
    """The creator of the link is suspended, then no more, by the edge `writer`. Milliseconds from the request to the last edge."""
    spreads = []
    for _ in range(changes // 2):
        began = time.monotonic()
        writer.ask("PUT", "/v1/suspensions/creator/c_fleet", {"reason": "load test"})
        wait_for_all(edges, code, lambda location: not location.startswith("https://shop"))
        spreads.append(1000 * (time.monotonic() - began))
        began = time.monotonic()
        writer.ask("DELETE", "/v1/suspensions/creator/c_fleet")
        wait_for_all(edges, code, lambda location: location.startswith("https://shop"))
        spreads.append(1000 * (time.monotonic() - began))
    return sorted(spreads)


def main():
    parser = argparse.ArgumentParser(description="Changes of links on three edges that share a topic.")
    parser.add_argument("--changes", type=int, default=200, help="changes of a link in each part (200)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the bulk (100000)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    kafka = broker.Broker(directory / "broker", {0, 1})
    setup = [binary, "kafka", "setup", "--apply", "--replication", "1", "--partitions", "1", "--kafka", kafka.address]
    subprocess.run([str(word) for word in setup], check=True, cwd=directory, stdout=subprocess.DEVNULL,
                   env={**os.environ, "WAYPOST__LINKS__TOPIC": TOPIC})
    edges = [Edge(binary, directory / f"edge-{number}", kafka) for number in range(EDGES)]
    for edge in edges:
        edge.waypost.ready(120)
    record = {"setup": harness.setup(binary), "parts": {}}
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    edges[0].ask("POST", "/v1/links", {"code": "fleet", "url": "https://shop.example.com/0", "kind": "plain", "creator": "c_fleet"})
    wait_for_all(edges, "fleet", lambda location: location.startswith("https://shop"))

    def measure(name):
        answers, spreads = change_links(edges, options.changes, "fleet")
        record["parts"][name] = {"answers": answers, "spreads": spreads, "suspensions": suspend(edges[0], edges, options.changes, "fleet")}

    say("changes alone")
    measure("quiet")
    say(f"changes during a bulk of {options.rows} rows")
    result = {}

    def send():
        result["seconds"], result["summary"] = links_store.post_bulk(
            edges[1].waypost.admin, edges[1].key, range(options.rows), created)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(1)  # the first rows are on their way
    # By the edge of the bulk, and by another one, which has to take its place as the writer for each.
    suspensions = {"same": [], "other": []}
    while sender.is_alive():
        suspensions["same"] += suspend(edges[1], edges, 4, "fleet")
        suspensions["other"] += suspend(edges[0], edges, 4, "fleet")
    sender.join()
    if not result:
        raise Failure("the bulk failed")
    record["bulk"] = {**result, "suspensions": {edge: sorted(times) for edge, times in suspensions.items()}}

    text = f"{EDGES} edges, one node of Kafka, on {record['setup']['cores']} cores; ms\n"
    rows = [("a change is answered (durable in Kafka, served by its edge)", record["parts"]["quiet"]["answers"]),
            ("from the answer to the last edge", record["parts"]["quiet"]["spreads"]),
            ("from the request of a suspension to the last edge", record["parts"]["quiet"]["suspensions"]),
            (f"the same during a bulk of {options.rows} rows by the same edge", record["bulk"]["suspensions"]["same"]),
            (f"the same during a bulk of {options.rows} rows by another edge", record["bulk"]["suspensions"]["other"])]
    for words, times in rows:
        p50, p99 = steady.at(0.5, times), steady.at(0.99, times)
        text += f"{words:72} p50 {p50:7.1f}   p99 {p99:7.1f}   most {times[-1]:7.1f}   ({len(times)})\n"
    text += f"the bulk took {result['seconds']:.1f} s: {1e6 * result['seconds'] / options.rows:.0f} µs a row\n"
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
