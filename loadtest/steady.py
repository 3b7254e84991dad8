"""Clicks at a steady rate, each one timed, by the program of steady.c. Its times begin and end on the generator's core."""
import array
import atexit
import json
import subprocess

import click
import harness


class Steady:
    """The generator, compiled into the run's directory."""

    def __init__(self, directory):
        self.program, self.times = directory / "steady", directory / "steady.times"
        subprocess.run(["gcc", "-O2", "-o", self.program, harness.HERE / "steady.c"], check=True)

    def start(self, port, requests, rate, seconds):
        """Begins; the answer goes to `finish`."""
        running = subprocess.Popen(
            [self.program, str(port), requests, str(rate), str(seconds), str(click.CONNECTIONS), self.times],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        atexit.register(running.kill)  # nothing, once it has ended
        return running

    def finish(self, running):
        """What the generator says of the run, and `us`: each click's microseconds, least first."""
        out, errors = running.communicate()
        if running.returncode:
            raise harness.Failure(f"the generator: {errors.strip()}")
        times = array.array("I")
        times.frombytes(self.times.read_bytes())
        return {**json.loads(out), "us": sorted(ns / 1000 for ns in times)}

    def run(self, port, requests, rate, seconds):
        return self.finish(self.start(port, requests, rate, seconds))


def at(share, values):
    """The value below which that share of the sorted values lies."""
    return values[min(len(values) - 1, int(share * len(values)))]
