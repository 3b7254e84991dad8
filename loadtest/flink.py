"""Records a second and bytes of state of the commission pipeline (deploy/flink). See flink.sh.

1. Clicks and orders are written to a real Kafka (FlinkLoad.java).
2. Each job runs over them in bounded mode. Its time has the start of the job in it, so a second run over an empty
   broker's topics tells what the start alone takes.
3. The jobs run in continuous mode until every line has its row, and stop with a savepoint. The savepoint of `winners` is
   almost all clicks; that of `commissions` is all orders.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

import broker
import harness
from harness import say

JOBS = ["winners", "commissions", "statistics"]
PIPELINE = harness.ROOT / "deploy/flink"


class Flink:
    """The launcher with its jars, for one broker."""

    def __init__(self, address, directory):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or harness.ROOT / "target")
        self.jars, self.address, self.directory = target / "flink", address, directory
        subprocess.run([PIPELINE / "build.sh", self.jars], check=True, stdout=sys.stderr)

    def java(self, *words):
        return ["java", "-Xmx1g", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={PIPELINE / 'log4j2.properties'}",
                "-cp", f"{self.jars / 'classes'}:{self.jars / 'libs'}/*", *map(str, words)]

    def run_sql(self, *settings):
        return self.java("waypost.flink.RunSql", PIPELINE, "run", *JOBS, f"KAFKA={self.address}",
                         f"STATE_DIR={self.directory / 'state'}", *settings)

    def load(self, *words):
        command = self.java(harness.HERE / "FlinkLoad.java", *words)
        subprocess.run(command, check=True, stdout=sys.stderr)

    def bounded_seconds(self):
        """Seconds of each job over what is on the topics now."""
        done = subprocess.run(self.run_sql("MODE=bounded", "GROUP=bounded"), capture_output=True, text=True)
        if done.returncode:
            raise harness.Failure(done.stderr[-3000:])
        return {job: float(seconds) for job, seconds in re.findall(r"flink: (\w+): done in ([\d.]+) s", done.stderr)}


def size(directory):
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--clicks", type=int, default=30_000)
    arguments.add_argument("--orders", type=int, default=3_000)
    options = arguments.parse_args()
    directory = harness.scratch_dir()
    cores = os.sched_getaffinity(0)
    kafka = broker.Broker(directory / "kafka", cores)
    flink = Flink(kafka.address, directory)
    broker.make_topics(os.environ["WAYPOST_BIN"], kafka.address)
    second = ["TOPIC_WINNERS=winners-2", "TOPIC_COMMISSIONS=commissions-2"]
    for names in ([], second):
        topics = flink.java("waypost.flink.Topics", PIPELINE, 2, 1, f"KAFKA={kafka.address}", *names)
        subprocess.run(topics, check=True, stderr=subprocess.DEVNULL)

    say("empty topics, for the time of the start")
    empty = flink.bounded_seconds()
    say(f"{options.clicks} clicks, {options.orders} orders")
    flink.load("send", kafka.address, options.clicks, options.orders)
    full = flink.bounded_seconds()
    records = {"winners": options.clicks + options.orders, "commissions": 2 * options.orders,
               "statistics": options.clicks + options.orders}
    print(f"cores {len(cores)}, clicks {options.clicks}, orders {options.orders} of one line and three tokens")
    for job in JOBS:
        seconds = max(full[job] - empty[job], 0.1)
        print(f"{job:12} {full[job]:6.1f} s, start {empty[job]:5.1f} s, {records[job] / seconds:8.0f} input records/s")

    say("continuous, to a savepoint")
    jobs = harness.Process("flink", flink.run_sql("CHECKPOINT_INTERVAL=2 s", "GROUP=continuous", *second), cores,
                           directory / "flink.log")
    flink.load("wait", kafka.address, "commissions-2", options.orders)
    jobs.stop(120)
    for job, unit, count in [("winners", "click", options.clicks), ("commissions", "line", options.orders)]:
        savepoints = list((directory / "state" / job).glob("savepoint-*"))
        if len(savepoints) != 1:
            raise harness.Failure(f"{job}: {len(savepoints)} savepoints\n{jobs.tail()}")
        print(f"{job:12} savepoint {size(savepoints[0])} bytes, {size(savepoints[0]) / count:.0f} a {unit}")


if __name__ == "__main__":
    try:
        main()
    except harness.Failure as failure:
        sys.exit(f"flink.py: {failure}")
