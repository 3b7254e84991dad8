"""A backlog of gigabytes: memory while it grows and drains, what catching up costs, and whether new clicks notice. See backlog.sh.

The worker has core 0 to itself. Core 1 runs the delivery; the broker and the generator are on it too, so that the wall
rate is less than a core of its own would give. The ring is on tmpfs.

1. Kafka is well: steady clicks, each timed (steady.c): the latency to compare with.
2. The broker is stopped (SIGSTOP: it neither answers nor hangs up) and clicks come flat out until the backlog is so large.
   The worker's CPU time a click is taken here, at full load.
3. The broker goes on. Until the backlog is gone steady clicks go on too, timed. Every half second: memory, backlog, age of the
   oldest undelivered click. The CPU time of delivery is that of its threads (wp-send-TOPIC, rdk:*), by the kernel's count, from the first
   delivery until less than a second of new clicks is left; the spiller is told apart.
   With --of orphans the backlog is of links that are disabled, so of the other topic. Then new clicks' time to their delivery
   is measured too, by Waypost's own histogram, before and during the drain.
4. All that was journaled must be delivered; Waypost stops, and `waypost clicks audit` must call the topics complete.
"""
import argparse
import atexit
import collections
import json
import os
import signal
import subprocess
import threading
import time

import broker
import click
import delivery
import harness
import steady
from harness import Failure, say

DELIVERY = ("wp-send-", "rdk:")
PAID = 'topic="clicks"'
DISABLED = 1000  # links
SLACK = 1.5  # seconds that the gauges may lag behind each other
DRAIN_LIMIT = 900  # seconds
FAST, LIMIT, WAIT_LIMIT = 2.0, 1.1, 1.2


class Watch(threading.Thread):
    """Samples of the process every half second: (seconds, phase, anonymous, resident, backlog bytes, delivered, age of the oldest)."""

    def __init__(self, waypost):
        super().__init__(daemon=True)
        self.waypost, self.phase, self.samples, self.ended, self.failure = waypost, "quiet", [], threading.Event(), None
        self.start()

    def run(self):
        while not self.ended.wait(0.5):
            try:
                now, phase, pid = self.waypost.metrics(), self.phase, self.waypost.pid
                self.samples.append((
                    time.monotonic(), phase, harness.status_bytes(pid, "RssAnon"), harness.status_bytes(pid, "VmRSS"),
                    now["waypost_journal_backlog_bytes"], now["waypost_clicks_delivered_total"],
                    now["waypost_clicks_oldest_undelivered_age_seconds"]))
            except (Failure, OSError) as failure:
                self.failure = failure
                return

    def most(self, field, phase):
        return max(sample[field] for sample in self.samples if sample[1] == phase)

    def end(self):
        self.ended.set()
        self.join()
        if self.failure:
            raise Failure(f"sampling ended early: {self.failure}")


def cpu_ns_by_purpose(waypost):
    """CPU nanoseconds of the threads, summed by their purpose."""
    by_name, spent = harness.threads_ns(waypost.pid), {"delivery": 0, "spiller": 0, "worker": 0, "other": 0}
    for name, ns in by_name.items():
        kind = ("delivery" if name.startswith(DELIVERY) else "spiller" if name.startswith("wp-spill-")
                else "worker" if name.startswith("wp-worker-") else "other")
        spent[kind] += ns
    return spent


def fill(waypost, requests, size, slice_seconds):
    """Clicks flat out until the backlog is `size` bytes: clicks, seconds and the worker's CPU microseconds a click."""
    clicks, seconds, before = 0, 0.0, cpu_ns_by_purpose(waypost)["worker"]
    while (backlog := waypost.metrics()["waypost_journal_backlog_bytes"]) < size:
        wrk = click.run_wrk(waypost.port, requests, slice_seconds)
        clicks, seconds = clicks + wrk["requests"], seconds + wrk["seconds"]
        say(f"  backlog {backlog / 2**30:.2f} GiB")
    spent = cpu_ns_by_purpose(waypost)["worker"] - before
    now = waypost.metrics()
    if now["waypost_clicks_unrecorded_total"]:
        raise Failure(f"{now['waypost_clicks_unrecorded_total']:.0f} clicks found no room in the journal")
    return {"clicks": clicks, "seconds": seconds, "worker_us": spent / 1000 / clicks,
            "backlog_bytes": now["waypost_journal_backlog_bytes"], "backlog_clicks": now["waypost_journal_backlog_clicks"]}


def write_links_with_disabled_ones(path):
    """The live links, and disabled ones behind them, which lead to a fallback."""
    harness.write_links(path, click.LINKS)
    live = path.read_text(encoding="ascii").splitlines()[:DISABLED]
    with open(path, "a", encoding="ascii") as out:
        for number, line in enumerate(live):
            link = json.loads(line) | {"code": harness.code_of(click.LINKS + number), "enabled": False,
                                       "fallback_url": harness.destination_of(number)}
            out.write(json.dumps(link) + "\n")


def write_requests_of_disabled_links(path):
    text = click.template("in-app")
    path.write_bytes(b"".join(click.head(text, harness.code_of(click.LINKS + number)) for number in range(DISABLED)))
    return path


def delivery_wait(waypost, before):
    """Milliseconds from a paid click to its delivery since `before`, for the oldest click of each batch."""
    now = waypost.histogram(delivery.DELAY, PAID)
    buckets = collections.Counter({bound: count - before[bound] for bound, count in now.items()})
    return {f"p{100 * share:g}": 1000 * delivery.quantile(share, buckets) for share in (0.5, 0.99)}


def latency(times):
    times = sorted(times)
    return {f"p{100 * share:g}": steady.at(share, times) for share in (0.5, 0.99, 0.999)}


def drain(waypost, generator, requests, options, delivered):
    """New clicks go on until the old ones are gone, in stretches of the same length as the quiet one."""
    began, before, result, times = time.monotonic(), None, {}, []
    while not result:
        running = generator.start(waypost.port, requests, options.rate, options.seconds)
        while True:
            now = waypost.metrics()
            done = now["waypost_clicks_delivered_total"] - delivered
            at = time.monotonic()
            if before is None and done > 0:
                before = (at, done, cpu_ns_by_purpose(waypost), now["waypost_clicks_journaled_total"])
            if before and not result and now["waypost_journal_backlog_clicks"] <= options.rate:
                spent, clicks, seconds = cpu_ns_by_purpose(waypost), done - before[1], at - before[0]
                result = {"clicks": clicks, "seconds": seconds, "first_delivery_after_seconds": before[0] - began,
                          **{f"{kind}_us": (spent[kind] - before[2][kind]) / 1000 / clicks for kind in spent}}
                new = now["waypost_clicks_journaled_total"] - before[3]
                result |= {"new_clicks": new, "worker_us": (spent["worker"] - before[2]["worker"]) / 1000 / max(new, 1)}
            if running.poll() is not None:
                break
            if at - began > DRAIN_LIMIT:
                running.terminate()
                raise Failure(f"not drained in {DRAIN_LIMIT} s:\n{waypost.tail()}")
            time.sleep(0.2)
        ran = generator.finish(running)
        if not result or not times:  # a stretch that ended beyond the drain tells of a quiet edge
            times.extend(ran["us"])
    if result["clicks"] <= 0:
        raise Failure("the backlog was gone before it could be measured: ask for more with --gib")
    return {**result, "latency": latency(times)}


def oldest_first(samples):
    """Whether the oldest click's age never grew by more than time went by: no older one came up behind it. The most it did."""
    worst = 0.0
    draining = [sample for sample in samples if sample[1] == "draining" and sample[6] > 0]
    youngest = float("-inf")
    for at, *_, age in draining:
        worst, youngest = max(worst, youngest - (at - age)), max(youngest, at - age)
    return {"samples": len(draining), "greatest_age_seconds": max((sample[6] for sample in draining), default=0.0),
            "beyond_the_clock_seconds": worst, "holds": worst <= SLACK}


def audit(binary, address):
    began = time.monotonic()
    ran = subprocess.run([binary, "clicks", "audit", "--kafka", address], capture_output=True, text=True)
    return {"exit": ran.returncode, "seconds": time.monotonic() - began, "said": (ran.stdout + ran.stderr)[-2000:]}


def rendered(record, options):
    """The table and the lines of the promises."""
    filled, drained, quiet, memory = (record[name] for name in ("fill", "drain", "quiet", "memory"))
    mib, cores = 2**20, 1
    lines = [
        f"backlog {filled['backlog_bytes'] / 2**30:.2f} GiB, {filled['backlog_clicks']:.0f} clicks, taken in at "
        f"{filled['clicks'] / filled['seconds']:.0f} clicks/s",
        f"drained in {drained['seconds']:.1f} s (first delivery {drained['first_delivery_after_seconds']:.1f} s after the broker "
        f"went on): {drained['clicks'] / drained['seconds']:.0f} clicks/s, with {options.rate} new ones a second",
        f"{'':28}{'anonymous':>12}{'resident':>12}   MiB"]
    for phase, row in memory.items():
        lines.append(f"{'most while ' + phase:28}{row['anonymous'] / mib:12.1f}{row['resident'] / mib:12.1f}")
    lines.append(f"{'':28}{'CPU us a click':>16}")
    for name, us in (("worker, flat out", filled["worker_us"]), (f"worker, {options.rate} a second", drained["worker_us"]),
                     ("delivery, draining", drained["delivery_us"]), ("spiller, draining", drained["spiller_us"]),
                     ("admin and others", drained["other_us"])):
        lines.append(f"{name:28}{us:16.2f}")
    lines.append(f"{'latency of new clicks, us':28}{'p50':>9}{'p99':>9}{'p99.9':>9}")
    for name, row in (("quiet", quiet), ("draining", drained["latency"])):
        lines.append(f"{name:28}{row['p50']:9.0f}{row['p99']:9.0f}{row['p99.9']:9.0f}")
    waited = record.get("wait")
    if waited:
        lines.append(f"{'wait for delivery, ms':28}{'p50':>9}{'p99':>9}")
        lines += [f"{name:28}{row['p50']:9.0f}{row['p99']:9.0f}" for name, row in waited.items()]
    control = record["control"]
    ratio = cores * filled["worker_us"] / drained["delivery_us"]
    p50, p99 = (drained["latency"][name] / quiet[name] for name in ("p50", "p99"))
    oldest, judged = record["oldest"], record.get("audit")
    record["ratios"] = {"catch_up": ratio, "p50": p50, "p99": p99}
    word = {True: "holds", False: "DOES NOT HOLD"}
    waits = {name: over <= LIMIT or over <= control[name] for name, over in (("p50", p50), ("p99", p99))}
    lines += [
        f"promise, {cores} core for delivery x worker us at least {FAST:g} x delivery us: {ratio:.2f}: {word[ratio >= FAST]}",
        f"promise, latency of new clicks at most {LIMIT} x quiet, or as far as quiet stretches lie apart "
        f"({control['p50']:.2f}, {control['p99']:.2f}): p50 {p50:.2f}, p99 {p99:.2f}: {word[all(waits.values())]}",
        f"promise, the oldest are not starved: no click older than the oldest before by more than {SLACK} s came up in "
        f"{oldest['samples']} samples ({oldest['beyond_the_clock_seconds']:.2f}): {word[oldest['holds']]}",
        f"promise, nothing is missing: {record['journaled']:.0f} journaled, {record['delivered']:.0f} delivered"
        + (f"; audit exit {judged['exit']} after {judged['seconds']:.1f} s: {word[judged['exit'] == 0]}" if judged else "")]
    if waited:
        over = record["ratios"]["wait_p99"] = waited["draining"]["p99"] / waited["quiet"]["p99"]
        lines.append(f"promise, a paid click waits at most {WAIT_LIMIT} x as long behind a backlog of orphans: p99 {over:.2f}: "
                     f"{word[over <= WAIT_LIMIT]}")
    return "\n".join(lines) + "\n"


def start(binary, directory, links, kafka, options):
    """Waypost with room for the backlog, its ring on tmpfs, the worker on a core of its own."""
    settings = {"WAYPOST__JOURNAL__RING_DIR": str(harness.scratch_dir("/dev/shm")),
                "WAYPOST__JOURNAL__MAX_DISK_BYTES": f"{int(2 * options.gib) + 4} GiB",
                "WAYPOST__JOURNAL__ORPHAN__MAX_DISK_BYTES": f"{int(2 * options.gib) + 4} GiB"}
    waypost = harness.Waypost(binary, directory / "run", links, click.SERVER_CORE, kafka=kafka.address, env=settings).ready()
    return waypost.keep_apart(click.SERVER_CORE, click.OTHER_CORE)


def main():
    parser = argparse.ArgumentParser(description="Memory and catch-up of a large backlog.")
    parser.add_argument("--gib", type=float, default=4.0, help="how large the backlog gets (4)")
    parser.add_argument("--of", choices=("clicks", "orphans"), default="clicks", help="the topic of the backlog (clicks)")
    parser.add_argument("--rate", type=int, default=2000, help="new clicks a second, before and while it drains (2000)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a stretch of them (5)")
    parser.add_argument("--no-audit", action="store_true", help="do not read the topics back")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary), "gib": options.gib, "of": options.of, "rate": options.rate}
    links = directory / "links.jsonl"
    write_links_with_disabled_ones(links)
    kafka = broker.Broker(directory / "broker", click.OTHER_CORE)
    atexit.register(lambda: kafka.alive() and os.kill(kafka.pid, signal.SIGCONT))  # a stopped process does not hear SIGTERM
    broker.make_topics(binary, kafka.address)
    waypost = start(binary, directory, links, kafka, options)
    cookies = click.take_cookies(waypost, click.template("in-app"))
    requests = click.Play(click.WaypostSubject(waypost, "Kafka"), directory, "in-app", cookies).requests
    filling = requests if options.of == "clicks" else write_requests_of_disabled_links(directory / "disabled.requests")
    generator = steady.Steady(directory)

    generator.run(waypost.port, requests, options.rate, 2)  # warm-up
    watch = Watch(waypost)
    waits = waypost.histogram(delivery.DELAY, PAID)
    stretches = [generator.run(waypost.port, requests, options.rate, options.seconds)["us"] for _ in range(3)]
    record["quiet"] = latency(us for one in stretches for us in one)
    each = [latency(one) for one in stretches]
    record["control"] = {name: max(one[name] for one in each) / min(one[name] for one in each) for name in ("p50", "p99")}
    delivered = waypost.settled()["waypost_clicks_delivered_total"]
    quiet_wait = delivery_wait(waypost, waits)

    say("the broker stops")
    os.kill(kafka.pid, signal.SIGSTOP)
    watch.phase = "filling"
    record["fill"] = fill(waypost, filling, options.gib * 2**30, 2 if options.gib < 1 else 5)
    say("the broker goes on")
    os.kill(kafka.pid, signal.SIGCONT)
    watch.phase = "draining"
    waits = waypost.histogram(delivery.DELAY, PAID)
    record["drain"] = drain(waypost, generator, requests, options, delivered)
    if options.of == "orphans":
        record["wait"] = {"quiet": quiet_wait, "draining": delivery_wait(waypost, waits)}
    watch.phase = "drained"
    now = waypost.settled()
    watch.end()
    record["journaled"], record["delivered"] = now["waypost_clicks_journaled_total"], now["waypost_clicks_delivered_total"]
    record["memory"] = {phase: {"anonymous": watch.most(2, phase), "resident": watch.most(3, phase)}
                        for phase in ("quiet", "filling", "draining")}
    record["oldest"] = oldest_first(watch.samples)
    record["samples"] = [[round(value, 3) if isinstance(value, float) else value for value in one] for one in watch.samples]
    waypost.stop(60)  # its lanes say that they are closed: all can be proved
    if not options.no_audit:
        say("the audit reads the topics")
        record["audit"] = audit(binary, kafka.address)
    text = rendered(record, options)
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
