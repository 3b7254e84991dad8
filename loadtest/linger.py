"""CPU of a click, and the delay until Kafka acknowledges it, by the producer's `linger.ms` and the rate of clicks. See linger.sh.

One Waypost for each linger, with topics of its own on the same Kafka node and its ring on tmpfs. The one that is measured has
core 0, the others are idle. The broker and the generator share core 1: steady.c at a rate, wrk flat out. Rounds take turns.

CPU is that of the whole process until all is delivered. The delay is Waypost's own histogram,
waypost_clicks_delivery_duration_seconds: the oldest click of each acknowledged batch; a quantile lies between the bounds of its
bucket.
"""
import argparse
import os
import statistics
import time

import broker
import click
import delivery
import harness
import same_job
import steady
from harness import Failure, say

FIGURES = {"cpu_us": "CPU us a click", "p50_ms": "delay, p50, ms", "p99_ms": "delay, p99, ms"}


class Subject:
    """One Waypost with its linger."""

    def __init__(self, binary, directory, memory, links, kafka, linger):
        name = f"linger-{linger}"
        (memory / name).mkdir()
        env = {**same_job.make_topics(binary, kafka.address, name), "WAYPOST__JOURNAL__RING_DIR": str(memory / name),
               "WAYPOST__KAFKA__PROPERTIES__LINGER_MS": str(linger)}
        self.waypost = harness.Waypost(
            binary, directory / name, links, click.SERVER_CORE, kafka=kafka.address, env=env).ready()
        cookies = click.take_cookies(self.waypost, click.template("in-app"))
        self.requests = click.Play(click.WaypostSubject(self.waypost, name), directory, "in-app", cookies).requests

    def round(self, generator, rate, seconds):
        pid, port = self.waypost.pid, self.waypost.port
        before = self.waypost.settled()["waypost_clicks_delivered_total"]
        delay, spent, began = self.waypost.histogram(delivery.DELAY), harness.process_ns(pid), time.monotonic()
        if rate:
            generator.run(port, self.requests, rate, seconds)
        else:
            click.run_wrk(port, self.requests, seconds)
        took = time.monotonic() - began
        now = self.waypost.settled()
        spent = harness.process_ns(pid) - spent
        clicks = now["waypost_clicks_delivered_total"] - before
        delay = {bound: count - delay[bound] for bound, count in self.waypost.histogram(delivery.DELAY).items()}
        if now["waypost_clicks_unrecorded_total"] or not clicks or not delay[float("inf")]:
            raise Failure(f"clicks were not recorded, or not delivered: {dict(now)}")
        return {"clicks": clicks, "per_second": clicks / took, "cpu_us": spent / 1000 / clicks,
                "p50_ms": 1000 * delivery.quantile(0.5, delay), "p99_ms": 1000 * delivery.quantile(0.99, delay)}


def rendered(rounds, options):
    lines = [f"{options.rounds} rounds of {options.seconds} s in turn, in-app headers; median (least-greatest)"]
    for rate, by in rounds.items():
        for linger, ones in by.items():
            line = f"{f'{rate}/s' if rate else 'flat out':10} linger {linger:>3} ms {statistics.median(o['per_second'] for o in ones):8.0f}/s"
            for key, title in FIGURES.items():
                values = [one[key] for one in ones]
                line += f"   {title} {statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"
            lines.append(line)
    return "\n".join(lines) + "\n"


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description="CPU and delay by linger.ms and rate.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="length of a round (4)")
    parser.add_argument("--lingers", type=numbers, default=[1, 5, 20], help="milliseconds (1,5,20)")
    parser.add_argument("--rates", type=numbers, default=[1000, 6000, 20000, 0], help="clicks/s; 0: flat out")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory, memory = os.environ["WAYPOST_BIN"], harness.scratch_dir(), harness.scratch_dir("/dev/shm")
    record = {"setup": harness.setup(binary)}
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    kafka, generator = broker.Broker(directory / "broker", click.OTHER_CORE), steady.Steady(directory)
    subjects = {linger: Subject(binary, directory, memory, links, kafka, linger) for linger in options.lingers}
    for subject in subjects.values():  # a broker that just started takes its first batches slowly
        subject.round(generator, 1000, 1)
    record["rounds"] = rounds = {rate: {linger: [] for linger in subjects} for rate in options.rates}
    for number in range(options.rounds):
        for rate in options.rates:
            for linger in list(subjects)[:: -1 if number % 2 else 1]:
                rounds[rate][linger].append(subjects[linger].round(generator, rate, options.seconds))
        say(f"round {number + 1} of {options.rounds}")
    harness.keep(options.name, rendered(rounds, options), record)


if __name__ == "__main__":
    harness.run(main)
