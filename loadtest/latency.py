"""Latency at a fixed rate of clicks: Waypost beside nginx, in turn, at 25, 50 and 75 % of what each of them takes at most. See latency.sh.

1. The server has core 0 to itself, with all its threads; the generator (steady.c, real-time class) has core 1. Waypost records to files.
2. What a server takes at most is the median of three runs of wrk.
3. The loop is open: a request is due at its time, whether earlier ones are answered or not, and is timed from the moment at which the
   generator sees that it is due. How late the generator itself was is stated: what it adds is the machine's, not the server's.
4. Figures are medians over the rounds of each round's own quantile.
"""
import argparse
import os
import statistics

import click
import harness
import steady
from harness import say

SHARES = (0.25, 0.5, 0.75)
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def saturation(play, seconds):
    """Requests a second at most."""
    return statistics.median(result["requests"] / result["seconds"]
                             for result in (click.run_wrk(play.subject.port, play.requests, seconds) for _ in range(3)))


def measure(plays, generator, options):
    """For each server, what it takes at most and the quantiles of each round, by share."""
    most = {name: saturation(play, options.seconds) for name, play in plays.items()}
    rounds = {name: {share: [] for share in SHARES} for name in plays}
    for number in range(options.rounds):
        for share in SHARES:
            for name, play in list(plays.items())[::-1 if number % 2 else 1]:
                click.check(play)
                run = generator.run(play.subject.port, play.requests, share * most[name], options.seconds)
                us = run.pop("us")
                rounds[name][share].append({"us": [steady.at(quantile, us) for quantile in QUANTILES] + [us[-1]], **run})
        say(f"round {number + 1} of {options.rounds}")
    return most, rounds


def rendered(most, rounds, options):
    heads = [f"p{100 * quantile:g}" for quantile in QUANTILES] + ["most"]
    text = (f"{options.rounds} rounds of {options.seconds} s at each rate, in-app headers, {click.LINKS} links, {click.CONNECTIONS} kept "
            f"connections; microseconds\n{'':34}" + "".join(f"{head:>9}" for head in heads) + "\n")
    for share in SHARES:
        for name, of_server in rounds.items():
            middle = [statistics.median(column) for column in zip(*(one["us"] for one in of_server[share]))]
            label = f"{name} at {share:.0%}: {share * most[name]:.0f}/s"
            text += f"{label:34}" + "".join(f"{figure:9.0f}" for figure in middle) + "\n"
    runs = [one for of_server in rounds.values() for ones in of_server.values() for one in ones]
    return text + (f"the generator ({runs[0]['class']}) saw requests late by {statistics.median(one['late_p50_us'] for one in runs):.0f} "
                   f"(p50) and {statistics.median(one['late_p999_us'] for one in runs):.0f} (p99.9), medians of all rounds\n")


def main():
    parser = argparse.ArgumentParser(description="Latency at a fixed rate, Waypost beside nginx.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a round (4)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options, binary = parser.parse_args(), os.environ["WAYPOST_BIN"]
    os.sched_setaffinity(0, click.OTHER_CORE)
    record, directory = {"setup": harness.setup(binary)}, harness.scratch_dir()
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    waypost = harness.Waypost(binary, directory / "file", links, click.SERVER_CORE).ready()
    nginx = click.Nginx.start(directory, click.LINKS)
    cookies = click.take_cookies(waypost, click.template("in-app"))
    subjects = {"waypost": click.WaypostSubject(waypost, "file"), "nginx": click.Nginx(nginx, "buffered")}
    plays = {name: click.Play(subject, directory, "in-app", cookies) for name, subject in subjects.items()}
    most, rounds = measure(plays, steady.Steady(directory), options)
    setup = record["setup"]
    text = (f"{setup['cpu']}, {setup['cores']} cores, {setup['memory_mib']} MiB, load average {setup['load_average_before']:.1f} before\n"
            + rendered(most, rounds, options))
    harness.keep(options.name, text, {**record, "most_per_second": most, "rounds": rounds})


if __name__ == "__main__":
    harness.run(main)
