"""How long `waypost links import` takes to check a table of links, and the memory it needs. See links.sh.

A table has the columns of Bitly's. Time is that of the whole process, once with --dry-run and once with the records written to a file.
Memory is the largest resident memory of the process, less that of an import of one row.
"""
import argparse
import csv
import os
import statistics
import subprocess
import time

import harness
from harness import say

DOMAIN = '[domains."go.example.com"]\n[links]\nallowed_hosts = ["shop.example.com"]\n'
TITLES = ["Spring sale", "Áo dài", "lipstick 03", 'said "now"', "กระเป๋า", "50 % off, today"]


def write_table(path, count):
    with open(path, "w", encoding="utf-8", newline="", buffering=1 << 20) as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["Bitlink", "Long URL", "Title", "Tags", "Created", "Total Clicks", "Campaign"])
        for number in range(count):
            created = f"2025-{number % 12 + 1:02}-{number % 28 + 1:02} {number % 20 + 4:02}:{number % 60:02}:00"
            rows.writerow([f"links.example.net/{harness.code_of(number)}", harness.destination_of(number), TITLES[number % 6],
                           "video, q2" if number % 3 else "", created, number % 5000, ""])


def warm_page_cache(path):
    """The figures are the import's, not the disk's. Read in pieces: the kernel counts this process's peak as the child's, if it is larger."""
    with open(path, "rb") as table:
        while table.read(1 << 20):
            pass


def run_import(binary, directory, table, records, *more):
    """Seconds and the largest resident bytes of one import; `records` is what it must say."""
    command = [binary, "links", "import", "--config", directory / "waypost.toml", "--format", "bitly-csv", "--zone", "Europe/Berlin",
               "--map-host", "links.example.net=go.example.com", "--defaults", "kind=plain", *more, table]
    began = time.monotonic()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0 or f"{records} record" not in said:
        raise harness.Failure(f"the import ended with {child.returncode}:\n{said[-2000:]}")
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}


def describe(kind, runs, one):
    seconds = [run["seconds"] for run in runs]
    cpu = statistics.median(run["cpu_seconds"] for run in runs)
    peak = max(run["peak"] for run in runs)
    return (f"{kind}: {statistics.median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f}), {cpu:.2f} s of CPU; "
            f"at most {peak / 2**20:.0f} MiB resident, {(peak - one['peak']) / 2**20:.0f} more than with one row\n")


def main():
    parser = argparse.ArgumentParser(description="Time and memory of an import.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    (directory / "waypost.toml").write_text(DOMAIN)
    table, single = directory / "table.csv", directory / "single.csv"
    say(f"writing {options.count} rows")
    write_table(table, options.count)
    write_table(single, 1)
    warm_page_cache(table)
    record = {"setup": harness.setup(binary), "count": options.count, "file_bytes": table.stat().st_size}
    record["one"] = one = run_import(binary, directory, single, 1, "--dry-run")
    record["check"] = [run_import(binary, directory, table, options.count, "--dry-run") for _ in range(options.rounds)]
    written = ["--output", directory / "links.jsonl"]
    record["write"] = [run_import(binary, directory, table, options.count, *written) for _ in range(options.rounds)]

    setup = record["setup"]
    text = (f"{options.count} rows of CSV, {record['file_bytes'] / 2**20:.0f} MiB; {setup['cpu']}, {setup['cores']} cores, "
            f"load average {setup['load_average_before']:.1f} before; median of {options.rounds} (least–most)\n"
            + describe("checked", record["check"], one) + describe("checked and written", record["write"], one))
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
