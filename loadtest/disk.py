"""Disk bytes a click, as the kernel charges them to Waypost (write_bytes of /proc/PID/io; tmpfs is not charged). See disk.sh.

Each set-up is driven twice: at a steady few thousand clicks a second, and as fast as the generator can.
"""
import argparse
import os
import tempfile
import time

import broker
import click
import harness
from harness import say

WARM_UP = 5  # seconds
PACES = {"steady": 10, "flat out": 0}  # milliseconds each of the 64 connections waits before a request


def drive(waypost, requests, seconds, pace):
    time.sleep(1.5)  # a checkpoint of what came before is written by now
    before, written = waypost.settled()["waypost_clicks_delivered_total"], harness.io_bytes(waypost.pid)
    wrk = click.run_wrk(waypost.port, requests, seconds, pace)
    now = waypost.settled(before + wrk["requests"])
    time.sleep(1.5)  # the last checkpoint
    clicks = now["waypost_clicks_delivered_total"] - before
    bytes_written = harness.io_bytes(waypost.pid) - written
    return {"clicks": clicks, "per_second": clicks / wrk["seconds"], "bytes": bytes_written,
            "bytes_a_click": bytes_written / clicks}


def main():
    parser = argparse.ArgumentParser(description="Disk bytes a click.")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary), "runs": {}}
    links = directory / "links.jsonl"
    harness.write_links(links, click.LINKS)
    kafka = broker.Broker(directory / "broker", click.OTHER_CORE)
    broker.make_topics(binary, kafka.address)

    text = f"{'':40}{'clicks/s':>12}{'bytes a click':>16}\n"
    with tempfile.TemporaryDirectory(prefix="waypost-ring-", dir="/dev/shm") as ring:
        on_tmpfs = {"WAYPOST__JOURNAL__RING_DIR": ring}
        for name, address, env in (
            ("ring on tmpfs, Kafka", kafka.address, on_tmpfs), ("ring in a file, Kafka", kafka.address, {}),
        ):
            waypost = harness.Waypost(
                binary, directory / name.replace(" ", "-"), links, click.SERVER_CORE, kafka=address, env=env).ready()
            cookies = click.take_cookies(waypost, click.template("in-app"))
            play = click.Play(click.WaypostSubject(waypost, "Kafka"), directory, "in-app", cookies)
            # A broker that just started takes its first batches slowly: those clicks are synced, as they should be.
            click.run_wrk(waypost.port, play.requests, WARM_UP, PACES["steady"])
            for pace, delay in PACES.items():
                say(f"{name}, {pace}")
                run = record["runs"][f"{name}, {pace}"] = drive(waypost, play.requests, options.seconds, delay)
                text += f"{name + ', ' + pace:40}{run['per_second']:12.0f}{run['bytes_a_click']:16.1f}\n"
            waypost.stop()
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
