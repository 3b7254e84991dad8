"""How long Waypost takes to load a links file, and the resident memory a link. See links.sh.

Time is from the start of the process until /readyz says yes, less the same with one link; and what Waypost itself says.
Memory is resident memory less that with one link, divided by links; once with and once without the URL's own bytes.
"""
import argparse
import os
import time

import harness
from harness import say


def load(binary, directory, count):
    """Seconds until ready, resident bytes then, and the log's lines about links."""
    links = directory / f"{count}.jsonl"
    say(f"writing {count} links")
    harness.write_links(links, count)
    links.read_bytes()  # the page cache is warm: the figure is the parser's and the table's, not the disk's
    began = time.monotonic()
    waypost = harness.Waypost(binary, directory / f"run-{count}", links, {0, 1}).ready(300)
    seconds = time.monotonic() - began
    resident = harness.status_bytes(waypost.pid, "VmRSS")
    peak = harness.status_bytes(waypost.pid, "VmHWM")
    metrics = {name: value for name, value in waypost.metrics().items() if name.startswith("waypost_links")}
    waypost.stop()
    said = [line for line in open(waypost.log, errors="replace") if "link" in line and "load" in line]
    return {"count": count, "seconds": seconds, "resident": resident, "peak": peak, "file_bytes": links.stat().st_size,
            "metrics": metrics, "said": said}


def main():
    parser = argparse.ArgumentParser(description="Load time and memory of a links file.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary)}
    record["one"], record["many"] = one, many = [load(binary, directory, count) for count in (1, options.count)]

    url = sum(len(harness.destination_of(number)) for number in range(options.count)) / options.count
    each = (many["resident"] - one["resident"]) / options.count
    text = (f"{options.count} links, {many['file_bytes'] / 2**20:.0f} MiB of JSON lines: "
            f"ready after {many['seconds']:.2f} s, with one link after {one['seconds']:.2f} s\n"
            f"resident {many['resident'] / 2**20:.0f} MiB (at most {many['peak'] / 2**20:.0f} MiB while loading), "
            f"with one link {one['resident'] / 2**20:.0f} MiB: {each:.0f} bytes a link, "
            f"{each - url:.0f} beyond its URL of {url:.0f}\n" + "".join(many["said"]))
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
