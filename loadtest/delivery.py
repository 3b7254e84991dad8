"""What exactly-once costs over at-least-once: CPU and disk bytes a click, and the delay until a click is delivered. See delivery.sh.

Two Waypost, each with topics of its own on the same Kafka and its ring on tmpfs; one has core 0 while it is measured, the other
is idle. Broker and generator (wrk) share core 1. Rounds take turns, each at a steady rate and flat out.

CPU is that of the whole process until all is delivered. Bytes are what the kernel charges to it (write_bytes of /proc/PID/io).
The delay is Waypost's own histogram, waypost_clicks_delivery_duration_seconds: the oldest click of each batch that was
acknowledged or, under exactly-once, committed; p99 is between the bounds of its bucket. A ratio is the median of the rounds' own
ratios, with least and greatest.
"""
import argparse
import os
import statistics
import subprocess
import time

import broker
import click
import harness
from harness import Failure, say

ONCE, LEAST = "exactly-once", "at-least-once"
PACES = {"steady": 10, "flat out": 0}  # milliseconds each of the 64 connections waits before a request
FIGURES = {"cpu_us": "CPU us a click", "bytes_a_click": "disk bytes a click", "delay_mean_ms": "delay, mean, ms",
           "delay_p99_ms": "delay, p99, ms"}
DELAY = "waypost_clicks_delivery_duration_seconds"


def settings(variant, memory):
    """The environment that `waypost kafka setup` and `waypost serve` share."""
    topics = {key: f"{variant}.{key.lower()}" for key in ("CLICKS", "ORPHAN", "LANES", "CHECKPOINTS")}
    ring = memory / variant
    ring.mkdir()
    return {"WAYPOST__KAFKA__DELIVERY": variant, "WAYPOST__JOURNAL__RING_DIR": str(ring),
            **{f"WAYPOST__KAFKA__TOPICS__{key}": name for key, name in topics.items()}}


def quantile(share, buckets):
    """By Prometheus' rule: evenly spread between the bounds; the last finite bound for what lies above it."""
    bounds = sorted(bound for bound in buckets if bound != "sum")
    wanted, below, under = share * buckets[float("inf")], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and buckets[bound] > under:
            return below if bound == float("inf") else below + (bound - below) * (wanted - under) / (buckets[bound] - under)
        below, under = bound, buckets[bound]
    return 0.0


class Subject:
    """One Waypost and what is measured of it."""

    def __init__(self, binary, directory, memory, links, kafka, variant):
        env = settings(variant, memory)
        made = subprocess.run([binary, "kafka", "setup", "--apply", "--replication", "1", "--kafka", kafka.address],
                              capture_output=True, text=True, env={**os.environ, **env})
        if made.returncode:
            raise Failure(f"`waypost kafka setup` failed:\n{made.stdout}{made.stderr}")
        self.waypost = harness.Waypost(
            binary, directory / variant, links, click.SERVER_CORE, kafka=kafka.address, env=env).ready()
        cookies = click.take_cookies(self.waypost, click.template("in-app"))
        self.requests = click.Play(click.WaypostSubject(self.waypost, variant), directory, "in-app", cookies).requests

    def round(self, seconds, pause):
        pid = self.waypost.pid
        time.sleep(1.2)  # the checkpoint of what came before is written by now
        before = self.waypost.settled()["waypost_clicks_delivered_total"]
        delay, written, spent = self.waypost.histogram(DELAY), harness.io_bytes(pid), harness.process_ns(pid)
        wrk = click.run_wrk(self.waypost.port, self.requests, seconds, pause)
        now = self.waypost.settled(before + wrk["requests"])
        spent = harness.process_ns(pid) - spent
        time.sleep(1.2)  # the last checkpoint
        clicks, after = now["waypost_clicks_delivered_total"] - before, self.waypost.histogram(DELAY)
        delay = {bound: count - delay[bound] for bound, count in after.items()}
        if now["waypost_clicks_unrecorded_total"] or not delay[float("inf")]:
            raise Failure(f"clicks were not recorded, or not delivered: {dict(now)}")
        return {"clicks": clicks, "per_second": wrk["requests"] / wrk["seconds"], "cpu_us": spent / 1000 / clicks,
                "bytes_a_click": (harness.io_bytes(pid) - written) / clicks,
                "delay_mean_ms": 1000 * delay["sum"] / delay[float("inf")], "delay_p99_ms": 1000 * quantile(0.99, delay)}


def measure(subjects, options):
    """All rounds: pace → variant → its rounds in order."""
    rounds = {pace: {variant: [] for variant in subjects} for pace in PACES}
    for subject in subjects.values():  # a broker that just started takes its first batches slowly
        subject.round(max(1, options.seconds // 2), PACES["steady"])
    for number in range(options.rounds):
        for pace, pause in PACES.items():
            for variant in list(subjects)[:: -1 if number % 2 else 1]:
                rounds[pace][variant].append(subjects[variant].round(options.seconds, pause))
        say(f"round {number + 1} of {options.rounds}")
    return rounds


def rendered(rounds, options):
    lines, compared = [f"{options.rounds} rounds of {options.seconds} s in turn; median (least-greatest)"], {}
    for pace, by in rounds.items():
        rate = {variant: statistics.median(one["per_second"] for one in ones) for variant, ones in by.items()}
        lines.append(f"{pace + ', clicks/s: %.0f and %.0f' % (rate[LEAST], rate[ONCE]):36}"
                     f"{LEAST:>14}{'':16}{ONCE:>14}{'':18}{'ratio':>5}")
        for key, title in FIGURES.items():
            least, once = ([one[key] for one in by[variant]] for variant in (LEAST, ONCE))
            # A round without a single byte has no ratio.
            each = [a / b for a, b in zip(once, least) if b] or [float("nan")]
            ratio = compared[f"{pace}, {key}"] = {"median": statistics.median(each), "min": min(each), "max": max(each)}
            line = f"{title:36}"
            for values in (least, once):
                line += f"{statistics.median(values):14.1f}  {'(%.1f-%.1f)' % (min(values), max(values)):14}"
            lines.append(line + f"{ratio['median']:9.2f}  ({ratio['min']:.2f}-{ratio['max']:.2f})")
    cpu, flat, delay = (compared[name]["median"] for name in ("steady, cpu_us", "flat out, cpu_us", "steady, delay_mean_ms"))
    bytes_more = statistics.median(a["bytes_a_click"] - b["bytes_a_click"]
                                   for a, b in zip(rounds["steady"][ONCE], rounds["steady"][LEAST]))
    lines.append(f"exactly-once costs {cpu:.2f} x the CPU at a steady rate, {flat:.2f} x flat out; steady: {delay:.1f} x the mean delay, "
                 f"{bytes_more:.0f} disk bytes a click more")
    lines.append("promise, every answered click is delivered: holds (a run in which one is not ends without figures)")
    return "\n".join(lines) + "\n", compared


def main():
    parser = argparse.ArgumentParser(description="What exactly-once costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6, help="length of a round (6)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory, memory = os.environ["WAYPOST_BIN"], harness.scratch_dir(), harness.scratch_dir("/dev/shm")
    record = {"setup": harness.setup(binary)}
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    kafka = broker.Broker(directory / "broker", click.OTHER_CORE)
    subjects = {variant: Subject(binary, directory, memory, links, kafka, variant) for variant in (LEAST, ONCE)}
    record["rounds"] = rounds = measure(subjects, options)
    text, record["ratios"] = rendered(rounds, options)
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
