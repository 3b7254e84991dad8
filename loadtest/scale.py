"""CPU of a click in one worker thread, alone and with a second worker beside it, at the same load a worker. See scale.sh.

Two processes of Waypost, one with one worker and one with two, take turns. The first worker of each has core 0 for itself; all
other threads, the second worker and the generator share core 1. So what the first worker's click costs more beside a second
worker is what both share: the table of links, counters, the machine's caches and its memory. The scale of two workers is twice
the ratio of both costs, as far as each has a core of its own.

Which worker took a click says the event's lane. CPU time is the kernel's count of that thread.
"""
import argparse
import collections
import os
import pathlib
import statistics

import click
import harness
from harness import Failure, say

# Milliseconds that each of the generator's 64 connections waits before a request: two workers get twice as many.
PAUSES = {1: 20, 2: 10}


class Subject:
    """A Waypost with so many workers."""

    def __init__(self, binary, directory, links, workers):
        self.workers, self.place = workers, directory / f"workers-{workers}"
        self.waypost = harness.Waypost(binary, self.place, links, {0, 1}, workers=workers).ready()
        cookies = click.take_cookies(self.waypost, click.template("in-app"))
        self.requests = click.Play(click.WaypostSubject(self.waypost, str(workers)), self.place, "in-app", cookies).requests
        self.waypost.keep_apart(click.OTHER_CORE, click.OTHER_CORE)
        for task in pathlib.Path(f"/proc/{self.waypost.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == "wp-worker-0":
                os.sched_setaffinity(int(task.name), click.SERVER_CORE)
        self.read = collections.Counter()  # bytes, by file

    def clicks_of_first_worker(self):
        """The clicks of lane 0 in the click files since the last call."""
        found = 0
        for file in (self.place / "data" / "clicks").glob("clicks-*.jsonl"):
            with open(file, "rb") as lines:
                lines.seek(self.read[file])
                text = lines.read()
            self.read[file] += len(text)
            found += text.count(b'"lane":0,')
        return found

    def round(self, seconds):
        before = self.waypost.settled()["waypost_clicks_delivered_total"]
        self.clicks_of_first_worker()
        spent = harness.thread_ns(self.waypost.pid, "wp-worker-0")
        wrk = click.run_wrk(self.waypost.port, self.requests, seconds, PAUSES[self.workers])
        spent = harness.thread_ns(self.waypost.pid, "wp-worker-0") - spent
        self.waypost.settled(before + wrk["requests"])
        clicks = self.clicks_of_first_worker()
        if not clicks:
            raise Failure("the first worker took no click")
        return {"us": spent / 1000 / clicks, "per_second": clicks / wrk["seconds"]}


def main():
    parser = argparse.ArgumentParser(description="CPU of a click in a worker, alone and beside a second one.")
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds (9)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a round (3)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options, binary, directory = parser.parse_args(), os.environ["WAYPOST_BIN"], harness.scratch_dir()
    os.sched_setaffinity(0, click.OTHER_CORE)
    record = {"setup": harness.setup(binary)}
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    subjects = [Subject(binary, directory, links, workers) for workers in PAUSES]
    record["rounds"] = rounds = {subject.workers: [] for subject in subjects}
    for number in range(options.rounds + 1):
        for subject in subjects[:: -1 if number % 2 else 1]:
            result = subject.round(options.seconds)
            if number:  # round 0 warms up
                rounds[subject.workers].append(result)
        say(f"  round {number} of {options.rounds}" + ("" if number else " (warm-up, not counted)"))
    us = {workers: [one["us"] for one in ones] for workers, ones in rounds.items()}
    each = [2 * alone / beside for alone, beside in zip(us[1], us[2])]
    shown = lambda values: f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
    text = f"{options.rounds} rounds of {options.seconds} s in turn, in-app headers; CPU of a click in the first worker, median (least-greatest)\n"
    for workers, ones in rounds.items():
        text += f"{workers} worker(s): {shown(us[workers])} us at {statistics.median(one['per_second'] for one in ones):.0f} clicks/s of its own\n"
    harness.keep(options.name, text + f"scale of two workers: {shown(each)} x one\n", record)


if __name__ == "__main__":
    harness.run(main)
