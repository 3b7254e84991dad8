"""What a look-up in the table of links costs: by the number of links, of codes that exist and of others, of one link by all workers,
and beside writes. See links.sh.

The times are those of loadtest/look_up_links.rs, in turns; a figure is a median. Instructions and cache misses are counted by
cachegrind, in a run with look-ups less one that fills the table alone: a simulated first cache of 32 KiB and a last one of 32 MiB,
64-byte lines, no prefetching. So its misses are all that the machine could have, and are not what it has.
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess

import harness
from harness import Failure, say

SIMULATED = ["--tool=cachegrind", "--cache-sim=yes", "--D1=32768,8,64", "--I1=32768,8,64", "--LL=33554432,16,64"]


def run(command):
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ran.returncode:
        raise Failure(f"{command[0]} ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-1000:]}")
    return ran.stdout, ran.stderr


def look_up(program, links, look_ups, workers, case):
    """Nanoseconds of a look-up, and microseconds of the longest."""
    out, _ = run([program, links, look_ups, workers, case])
    return [float(figure) for figure in re.search(r"takes ([\d.]+) ns, the longest ([\d.]+)", out).groups()]


def simulate(program, directory, links, look_ups, case):
    """Instructions, reads and writes that miss the first cache, and those that miss the last one, of the whole process."""
    out = directory / "cachegrind.out"
    _, errors = run(["valgrind", *SIMULATED, f"--cachegrind-out-file={out}", program, links, look_ups, 1, case])

    def count(name):
        return int(re.search(rf"{name}\s+(?:refs|misses):\s+([\d,]+)", errors)[1].replace(",", ""))

    return {"instructions": count("I"), "first": count("D1"), "last": count("LLd")}


def count_a_look_up(program, directory, links, look_ups, case):
    """Counts of one look-up: those of a run less those of one that fills the same table, and makes and reads as many codes."""
    without, with_look_ups = (simulate(program, directory, links, look_ups, name) for name in ("none", case))
    return {name: (with_look_ups[name] - without[name]) / look_ups for name in without}


def main():
    parser = argparse.ArgumentParser(description="What a look-up in the table of links costs.")
    parser.add_argument("links", type=int, nargs="*", default=[100_000, 1_000_000, 10_000_000], help="sizes of the table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--look-ups", type=int, default=2_000_000, help="look-ups a round (2000000)")
    parser.add_argument("--simulated", type=int, default=200_000, help="look-ups that are simulated; 0: none (200000)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    program, directory = os.environ["LOOK_UP_BIN"], pathlib.Path(harness.scratch_dir())
    record = {"setup": harness.setup("true")}
    del record["setup"]["waypost"]  # the program has no version
    cases = [("hit", 1), ("unknown", 1), ("hit", 2), ("viral", 1), ("viral", 2), ("beside-writes", 1)]
    times = {(links, case, workers): [] for links in options.links for case, workers in cases}
    for number in range(options.rounds):
        for links, case, workers in times:
            times[links, case, workers].append(look_up(program, links, options.look_ups, workers, case))
            say(f"round {number + 1}: {links} {case} {workers}: {times[links, case, workers][-1]}")
    setup = record["setup"]
    text = (f"{setup['cpu']}, {setup['cores']} cores, {setup['memory_mib']} MiB, load average {setup['load_average_before']:.1f} before\n"
            "ns of a look-up, medians (least–greatest)\n")
    for (links, case, workers), rounds in times.items():
        means = [mean for mean, _ in rounds]
        longest = f", the longest {statistics.median(longest for _, longest in rounds):.1f} µs" if case == "beside-writes" else ""
        text += (f"{links:>10} links  {case:13} {workers} at once  {statistics.median(means):7.1f} ({min(means):.1f}–{max(means):.1f})"
                 f"{longest}\n")
    record["times"] = {f"{links} {case} {workers}": rounds for (links, case, workers), rounds in times.items()}
    if options.simulated:
        text += "simulated: instructions, misses of 32 KiB, misses of 32 MiB a look-up\n"
        record["simulated"] = {}
        for links in options.links:
            for case in ("hit", "unknown"):
                say(f"simulating {links} {case}")
                counts = count_a_look_up(program, directory, links, options.simulated, case)
                record["simulated"][f"{links} {case}"] = counts
                text += (f"{links:>10} links  {case:13} {counts['instructions']:7.0f} {counts['first']:6.2f} {counts['last']:6.2f}\n")
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
