"""The worker never waits for the disk: a click's latency while the disk is quiet, busy or full. See faults.sh.

The worker has core 0 to itself, so that what it waits for shows; Waypost's other threads, the broker, the other writer and the
generator share core 1, the generator first, in the real-time class. With --together all of Waypost has core 0. The broker lies
on tmpfs: Kafka is well, and none of this is about its disk.

1. Cases, in turn, each round in another order: the ring on tmpfs with the disk quiet, quiet once more (the control: how far two
   equal cases lie apart), busy and full; the ring in the data directory with the disk quiet and busy.
   Busy: another process's 16 threads write 4 MiB at a time to the same file system and sync each, without a pause.
   The floor (floor.c), which has no disk to wait for, quiet and busy: what a busy disk does to generator and machine alone.
   Full: a data directory on a small ext4 image, all of its blocks taken by another file.
2. Latency is the generator's, click by click (steady.c). p50 and p99.9: median of the rounds (least-greatest). p99.99 and
   worst: of all rounds' clicks together. Bytes: what the kernel charges to Waypost (write_bytes of /proc/PID/io).
3. Queued: milliseconds a second in which the server's thread was ready but had no core (/proc/PID/task/TID/schedstat), so what other
   programs did to it; near 0 on a machine with nothing else to do.
4. A ratio is the median of the rounds' own ratios to the quiet case, with least and greatest; the floor's is to the floor's.
"""
import argparse
import atexit
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import broker
import click
import harness
import steady
from harness import Failure, say

WRITERS, BLOCK, WRITER_FILE = 16, 4 << 20, 1 << 30  # threads, bytes at a time, and where they begin again
IMAGE = 256 << 20
LIMIT = 1.1
QUIET, CONTROL, BUSY, FULL = ("ring on tmpfs, disk " + word for word in ("quiet", "quiet again", "busy", "full"))
FLOOR_QUIET, FLOOR_BUSY = ("the floor, disk " + word for word in ("quiet", "busy"))
FILE_QUIET, FILE_BUSY = ("ring in a file, disk " + word for word in ("quiet", "busy"))


def write_for_ever(path):
    """The other writer: past the page cache, so that it costs the disk and hardly any CPU; threads, so that its queue is deep."""
    block = mmap.mmap(-1, BLOCK)
    block.madvise(mmap.MADV_HUGEPAGE)  # else each write pins a thousand pages, on the generator's core
    block.write(os.urandom(BLOCK))
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)

    def write(number):
        position = number * BLOCK
        while True:
            os.pwrite(file, block, position % WRITER_FILE)
            # The file's time has changed: one of the threads has the file system's journal committed too.
            os.fdatasync(file) if number else os.fsync(file)
            position += WRITERS * BLOCK

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def queued_ns(pid):
    """Nanoseconds in which the thread that serves was ready and waited for a core."""
    tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
    serving = [task for task in tasks if len(tasks) == 1 or (task / "comm").read_text().startswith("wp-worker-")]
    return sum(int((task / "schedstat").read_text().split()[1]) for task in serving)


def sync_ms(directory):
    """How long a small write and its sync take there now: median of nine, milliseconds."""
    path, took = directory / "probe", []
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(9):
        began = time.monotonic()
        os.pwrite(file, b"x" * 4096, 0)
        os.fsync(file)
        took.append(1000 * (time.monotonic() - began))
    os.close(file)
    return statistics.median(took)


class SmallDisk:
    """A small ext4 on a loop mount. Unmounted when the run ends, however it ends."""

    def __init__(self, directory):
        image, self.path = directory / "image", directory / "mount"
        self.path.mkdir()
        with open(image, "wb") as file:
            file.truncate(IMAGE)
        for command in (["mkfs.ext4", "-q", "-m", "0", image], ["mount", "-o", "loop", image, self.path]):
            try:
                ran = subprocess.run(command, capture_output=True, text=True)
            except OSError as error:
                raise Failure(f"{command[0]}: {error}") from None
            if ran.returncode:
                raise Failure(ran.stderr.strip().splitlines()[-1])
        atexit.register(self.unmount)  # before the processes on it are registered, so after they are ended

    def unmount(self):
        if subprocess.run(["umount", self.path]).returncode:
            subprocess.run(["umount", "--lazy", self.path])

    def fill(self):
        """Takes every free block."""
        chunk, file = BLOCK, os.open(self.path / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
        while chunk >= 4096:
            try:
                os.posix_fallocate(file, os.fstat(file).st_size, chunk)
            except OSError:
                chunk //= 2
        os.close(file)
        free = os.statvfs(self.path)
        if free.f_bavail * free.f_frsize >= 64 << 10:
            raise Failure(f"the small disk is not full: {free.f_bavail * free.f_frsize} bytes free")


class Runs:
    """The Waypost of each case, and what it takes to bring its disk into the case's state."""

    def __init__(self, binary, directory, options):
        self.binary, self.directory, self.options = binary, directory, options
        self.links = directory / "links.jsonl"
        harness.write_links(self.links, click.LINKS)
        self.memory = harness.scratch_dir("/dev/shm")
        self.kafka = broker.Broker(self.memory / "broker", click.OTHER_CORE)
        broker.make_topics(binary, self.kafka.address)
        self.generator = steady.Steady(directory)
        on_tmpfs, in_file = self.start("ring-on-tmpfs", directory, True), self.start("ring-in-a-file", directory, False)
        self.cases = {QUIET: on_tmpfs, CONTROL: on_tmpfs, BUSY: on_tmpfs, FILE_QUIET: in_file, FILE_BUSY: in_file}
        answer = harness.exchange(on_tmpfs[0].port, click.head(click.template("in-app"), harness.code_of(1)))
        floor = click.Floor(directory, answer)
        self.cases[FLOOR_QUIET] = self.cases[FLOOR_BUSY] = floor, on_tmpfs[1]
        self.small, self.left_out = None, None
        try:
            self.small = SmallDisk(directory)
        except Failure as failure:
            self.left_out = f"{FULL}: left out, this user cannot mount ({failure})"
        else:
            self.cases[FULL] = self.start("disk-full", self.small.path, True)

    def start(self, name, place, on_tmpfs):
        env = {}
        if on_tmpfs:
            ring = self.memory / name
            ring.mkdir()
            env["WAYPOST__JOURNAL__RING_DIR"] = str(ring)
        waypost = harness.Waypost(
            self.binary, place / name, self.links, click.SERVER_CORE, kafka=self.kafka.address, env=env).ready()
        if not self.options.together:
            waypost.keep_apart(click.SERVER_CORE, click.OTHER_CORE)
        cookies = click.take_cookies(waypost, click.template("in-app"))
        return waypost, click.Play(click.WaypostSubject(waypost, name), self.directory, "in-app", cookies).requests

    def round(self, case, seconds):
        """One stretch of steady clicks in that case, its disk in that state."""
        server, requests = self.cases[case]
        drive = self.drive_floor if case in (FLOOR_QUIET, FLOOR_BUSY) else self.drive_waypost
        if case == FULL:
            self.small.fill()
        if case not in (BUSY, FILE_BUSY, FLOOR_BUSY):
            probe = sync_ms(self.directory)
            return {"sync_ms": probe, **drive(case, server, requests, seconds)}
        writer = harness.Process("the other writer", [sys.executable, __file__, "--write", self.directory / "other"],
                                 click.OTHER_CORE, self.directory / "writer.log")
        try:
            time.sleep(0.5)
            probe, began = sync_ms(self.directory), time.monotonic()
            written, spent = harness.io_bytes(writer.pid), harness.process_ns(writer.pid)
            result = drive(case, server, requests, seconds)
            took = time.monotonic() - began
            if not writer.alive():
                raise Failure(f"the other writer ended by itself:\n{writer.tail()}")
            return {"sync_ms": probe, "writer_mb_per_second": (harness.io_bytes(writer.pid) - written) / took / 1e6,
                    "writer_cores": (harness.process_ns(writer.pid) - spent) / took / 1e9, **result}
        finally:
            writer.stop()

    def timed(self, server, pid, requests, seconds):
        queued = queued_ns(pid)
        result = self.generator.run(server.port, requests, self.options.rate, seconds)
        return {**result, "queued_ms_a_second": (queued_ns(pid) - queued) / 1e6 / result["seconds"]}

    def drive_floor(self, _case, floor, requests, seconds):
        return {**self.timed(floor, floor.process.pid, requests, seconds), "bytes_a_click": 0.0}

    def drive_waypost(self, case, waypost, requests, seconds):
        before, written = waypost.settled()["waypost_clicks_delivered_total"], harness.io_bytes(waypost.pid)
        result = self.timed(waypost, waypost.pid, requests, seconds)
        now = waypost.settled(before + result["requests"])
        time.sleep(1.2)  # the last checkpoint is written by now
        clicks = now["waypost_clicks_delivered_total"] - before
        if now["waypost_clicks_unrecorded_total"] or clicks != result["requests"]:
            raise Failure(f"{case}: {result['requests']} answers, {clicks:.0f} delivered, "
                          f"{now['waypost_clicks_unrecorded_total']:.0f} unrecorded")
        result["bytes_a_click"] = (harness.io_bytes(waypost.pid) - written) / clicks
        result["spill_errors"] = now["waypost_journal_spill_errors_total"]
        return result


def keep_awake():
    """A loop of the idle class on each core: a click then does not pay for the waking of a halted (virtual) core."""
    for core in (*click.SERVER_CORE, *click.OTHER_CORE):
        def settings(core=core):
            os.sched_setaffinity(0, {core})
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=settings)
        atexit.register(lambda child=child: (child.kill(), child.wait()))


def measure(runs, options):
    """All rounds: case → its rounds in order."""
    order = (QUIET, CONTROL, BUSY, FULL, FILE_QUIET, FILE_BUSY, FLOOR_QUIET, FLOOR_BUSY)
    rounds = {case: [] for case in order if case in runs.cases}
    for case in rounds:  # a broker that just started takes its first batches slowly
        runs.round(case, 1)
    cases = list(rounds)
    for number in range(options.rounds):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            rounds[case].append(runs.round(case, options.seconds))
        say(f"round {number + 1} of {options.rounds}")
    return rounds


def ratios(rounds, case, share):
    base = rounds[FLOOR_QUIET if case == FLOOR_BUSY else QUIET]
    over = [steady.at(share, a["us"]) / steady.at(share, b["us"]) for a, b in zip(rounds[case], base)]
    return {"median": statistics.median(over), "min": min(over), "max": max(over)}


def verdict(name, ratio, control, floor):
    if ratio["median"] <= LIMIT:
        return f"{name} {ratio['median']:.2f}: holds"
    if ratio["median"] <= control["max"]:
        return f"{name} {ratio['median']:.2f}: within the control's own spread"
    if name == "busy" and ratio["median"] <= LIMIT * floor["median"]:
        return f"{name} {ratio['median']:.2f}: no more than the floor's, {floor['median']:.2f}, which has no disk to wait for"
    return f"{name} {ratio['median']:.2f}: DOES NOT HOLD"


def rendered(rounds, options, left_out):
    """The table, the ratios and the line of the promise; and all of it as figures."""
    table, lines = {}, [
        f"{options.rounds} rounds of {options.seconds} s in turn, {options.rate} clicks/s; microseconds of a click",
        f"{'':32}{'p50':>7}  {'':13}{'p99.9':>7}  {'':13}{'p99.99':>8}{'worst':>9}{'bytes a click':>15}{'a sync, ms':>12}"
        f"{'queued, ms/s':>14}"]
    for case, ones in rounds.items():
        everything = sorted(us for one in ones for us in one["us"])
        row = table[case] = {
            **{name: [steady.at(share, one["us"]) for one in ones] for name, share in (("p50", 0.5), ("p99.9", 0.999))},
            "p99.99": steady.at(0.9999, everything), "worst": everything[-1],
            "bytes_a_click": statistics.median(one["bytes_a_click"] for one in ones),
            **{name: statistics.median(one[name] for one in ones) for name in ("sync_ms", "queued_ms_a_second")}}
        line = f"{case:32}"
        for name in ("p50", "p99.9"):
            line += f"{statistics.median(row[name]):7.0f}  {'(%.0f-%.0f)' % (min(row[name]), max(row[name])):13}"
        lines.append(line + f"{row['p99.99']:8.0f}{row['worst']:9.0f}{row['bytes_a_click']:15.1f}{row['sync_ms']:12.2f}"
                     f"{row['queued_ms_a_second']:14.2f}")
    compared = {case: {f"p{100 * share:g}": ratios(rounds, case, share) for share in (0.5, 0.99, 0.999)}
                for case in rounds if case not in (QUIET, FLOOR_QUIET)}
    lines.append(f"{'to the ring on tmpfs, disk quiet':32}{'x p50':>7}  {'':13}{'x p99':>7}  {'':13}{'x p99.9':>8}")
    for case, by in compared.items():
        line = f"{case + (', to its own' if case == FLOOR_BUSY else ''):32}"
        for ratio in by.values():
            line += f"{ratio['median']:7.2f}  {'(%.2f-%.2f)' % (ratio['min'], ratio['max']):13}"
        lines.append(line.rstrip())
    busy = [one for case in (BUSY, FILE_BUSY, FLOOR_BUSY) for one in rounds[case]]
    late = max(statistics.median(one["late_p999_us"] for one in ones) for ones in rounds.values())
    lines.append(f"the other writer: {statistics.median(one['writer_mb_per_second'] for one in busy):.0f} MB/s for "
                 f"{statistics.median(one['writer_cores'] for one in busy):.2f} cores; generator: {busy[0]['class']}, "
                 f"late by {late:.0f} us at p99.9 in the worst case, which is no part of a time")
    if left_out:
        lines.append(left_out)
    control, floor = compared[CONTROL]["p99.9"], compared[FLOOR_BUSY]["p99.9"]
    told = [verdict(case.rsplit(" ", 1)[1], compared[case]["p99.9"], control, floor) for case in (BUSY, FULL) if case in compared]
    lines.append(f"promise, ring on tmpfs, p99.9 at most {LIMIT} x quiet or within the control's spread "
                 f"({control['min']:.2f}-{control['max']:.2f}): {'; '.join(told)}")
    return "\n".join(lines) + "\n", {"table": table, "ratios": compared}


def main():
    parser = argparse.ArgumentParser(description="A click's latency while the disk is quiet, busy or full.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="length of a round (4)")
    parser.add_argument("--rate", type=int, default=4000, help="clicks a second (4000)")
    parser.add_argument("--together", action="store_true", help="all threads of Waypost on the worker's core")
    parser.add_argument("--keep-awake", action="store_true", help="keep the cores from halting")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write_for_ever(options.write)
    os.sched_setaffinity(0, click.OTHER_CORE)
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary), "rate": options.rate, "keep_awake": options.keep_awake,
              "together": options.together}
    if options.keep_awake:
        keep_awake()
    runs = Runs(binary, directory, options)
    rounds = measure(runs, options)
    text, figures = rendered(rounds, options, runs.left_out)
    record |= figures
    record["rounds"] = {case: [{key: value for key, value in one.items() if key != "us"} for one in ones]
                        for case, ones in rounds.items()}
    harness.keep(options.name, text, record)


if __name__ == "__main__":
    harness.run(main)
