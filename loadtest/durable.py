"""The age of the oldest click that is neither delivered nor synced, while no broker can be reached. See durable.sh.

strace delays every fdatasync of the spiller's thread, and says how long each took. Steady clicks go to all workers. Waypost's own gauge
waypost_journal_oldest_undurable_age_seconds is read again and again; the spiller sets it in each round, just before its sync ends.
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import time

import click
import harness
import steady
from harness import Failure, say

GAUGE = "waypost_journal_oldest_undurable_age_seconds"
SPILLER = "wp-spill-clicks"
NOBODY = f"{harness.HOST}:1"  # no broker listens there
INTERVAL_MS = 50  # journal.sync_interval


def bound_ms(sync_ms):
    """What docs/guarantees.md promises if no sync takes longer: max(interval, a round) and a sync."""
    return max(INTERVAL_MS, sync_ms + max(INTERVAL_MS / 4, sync_ms)) + sync_ms


def thread_id(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return task.name
    raise Failure(f"no thread {name}")


def delay_syncs(waypost, milliseconds, syncs):
    """strace on the spiller's thread: each of its syncs takes so much longer. The file `syncs` has a line for each."""
    thread = thread_id(waypost.pid, SPILLER)
    command = ["strace", "-q", "-T", "-p", thread, "-e", "trace=fdatasync", "-e",
               f"inject=fdatasync:delay_exit={1000 * milliseconds}", "-o", syncs]
    tracer = harness.Process("strace", command, click.OTHER_CORE, waypost.data.parent / "strace.log")
    status = pathlib.Path(f"/proc/{waypost.pid}/task/{thread}/status")
    tracer.wait_until(lambda: "TracerPid:\t0\n" not in status.read_text(), "it is attached", 10)
    return tracer


def one_round(binary, directory, links, workers, options):
    env = {"WAYPOST__JOURNAL__RING_DIR": str(harness.scratch_dir("/dev/shm")), "WAYPOST__JOURNAL__RING_BYTES": "8 MiB"}
    waypost = harness.Waypost(binary, directory, links, click.SERVER_CORE | click.OTHER_CORE, kafka=NOBODY, env=env, workers=workers)
    waypost.ready()
    requests = directory / "in-app.requests"
    text = click.template("in-app")
    requests.write_bytes(b"".join(click.head(text, harness.code_of(number)) for number in range(click.LINKS)))
    generator = steady.Steady(directory)
    syncs = directory / "syncs"
    tracer = delay_syncs(waypost, options.sync_ms, syncs)
    running, ages = generator.start(waypost.port, requests, options.rate, options.seconds), []
    while running.poll() is None:
        ages.append(1000 * waypost.metrics()[GAUGE])
        time.sleep(0.05)  # the gauge is set ten times a second
    answered = generator.finish(running)
    now = waypost.metrics()
    if now["waypost_clicks_unrecorded_total"]:
        raise Failure("clicks found no room in the journal")
    tracer.stop()
    waypost.stop(60)
    ages.sort()
    # strace measures a call before it delays its return.
    longest = options.sync_ms + 1000 * max(float(seconds) for seconds in re.findall(r"<([0-9.]+)>$", syncs.read_text(), re.M))
    return {"samples": len(ages), "p50_ms": steady.at(0.5, ages), "p99_ms": steady.at(0.99, ages), "most_ms": ages[-1], "longest_sync_ms": longest, "bound_ms": bound_ms(longest),
            "clicks": now["waypost_clicks_journaled_total"], "answer_p99_us": steady.at(0.99, answered["us"])}


def main():
    parser = argparse.ArgumentParser(description="The age of the oldest click that a power loss would take.")
    parser.add_argument("--workers", default="1,16,32", help="workers of each run (1,16,32)")
    parser.add_argument("--sync-ms", type=int, default=20, help="how much longer a sync takes (20)")
    parser.add_argument("--rate", type=int, default=2000, help="clicks a second (2000)")
    parser.add_argument("--seconds", type=int, default=20, help="length of a round (20)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each, in turn (3)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    numbers = [int(number) for number in options.workers.split(",")]
    record = {"setup": harness.setup(binary), "sync_ms": options.sync_ms, "rounds": {number: [] for number in numbers}}
    for turn in range(options.rounds):
        for number in numbers:
            say(f"round {turn + 1}, {number} workers")
            record["rounds"][number].append(one_round(binary, directory / f"{turn}-{number}", links, number, options))
    text = (f"oldest click neither synced nor delivered, sync {options.sync_ms} ms longer, {options.rate} clicks/s, medians of {options.rounds} rounds\n"
            f"bound: what is promised for the longest sync of the round\n"
            f"{'workers':>8}{'p50, ms':>10}{'p99, ms':>10}{'most, ms':>10}{'bound, ms':>11}{'most of all':>13}{'over bound':>12}{'answers p99, us':>17}\n")
    for number, rounds in record["rounds"].items():
        p50, p99, most, bound, answers = (statistics.median(one[name] for one in rounds)
                                          for name in ("p50_ms", "p99_ms", "most_ms", "bound_ms", "answer_p99_us"))
        over = sum(one["most_ms"] > one["bound_ms"] for one in rounds)
        text += (f"{number:8}{p50:10.0f}{p99:10.0f}{most:10.0f}{bound:11.0f}{max(one['most_ms'] for one in rounds):13.0f}"
                 f"{f'{over} of {len(rounds)}':>12}{answers:17.0f}\n")
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
