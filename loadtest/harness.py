"""Shared by the load tests: links, pinned processes, CPU time from the kernel's counters, Waypost's metrics.

Everything listens on 127.0.0.1, lives in one temporary directory and is ended by its process id. Linux, Python 3.9+.
"""
import atexit
import collections
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
HOST = "127.0.0.1"
CODE_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Failure(Exception):
    """A run whose figures may not be used; the message says why."""


def say(*words):
    """Progress goes to stderr; stdout holds the figures alone."""
    print(*words, file=sys.stderr, flush=True)


def scratch_dir(parent=None):
    """A directory of this run, removed when it ends; `parent` may be a tmpfs."""
    if parent is not None:
        pathlib.Path(parent).mkdir(parents=True, exist_ok=True)
    path = pathlib.Path(tempfile.mkdtemp(prefix="waypost-load-", dir=parent))
    path.chmod(0o755)  # nginx's worker is another user when started by root
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


# --- links ---------------------------------------------------------------------------------------------------------

def code_of(number):
    """Code `number`: 8 characters, neighbours nothing alike. No two are equal: an odd factor is a bijection modulo a power of two."""
    mixed = (number * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % (1 << 47)
    digits = []
    for _ in range(8):
        mixed, digit = divmod(mixed, 62)
        digits.append(CODE_ALPHABET[digit])
    return "".join(digits)


def destination_of(number):
    return f"https://shop.example.com/view/product/{1700000000 + number}?creator=c_{number % 5000}"


def write_links(path, count):
    """`count` live product links, one JSON record a line. Created at this moment: they expire a hundred days on."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    with open(path, "w", encoding="ascii", buffering=1 << 20) as out:
        for number in range(count):
            out.write(
                f'{{"code":"{code_of(number)}","url":"{destination_of(number)}","kind":"product","creator":"c_{number % 5000}",'
                f'"creator_type":"affiliate","partner":"tap_{number % 40}","seller":"s_{number % 300}",'
                f'"product":"{1700000000 + number}","plan":"targeted","rate_bp":1200,"created_at":"{created}"}}\n')


# --- processes and their CPU time -----------------------------------------------------------------------------------

class Process:
    """A child pinned to `cores`, its output in `log`. Ended by its id when the run ends."""

    keep = ()  # descriptors that the child inherits

    def __init__(self, name, command, cores, log, env=None, cwd=None):
        self.name, self.log = name, log
        self.command, self.cores, self.env, self.cwd = [str(word) for word in command], cores, env, cwd
        self.start()
        atexit.register(self.stop)

    def start(self):
        """Starts the process; after its end, once more with the same command."""
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.cwd, pass_fds=self.keep,
                env={**os.environ, **(self.env or {})}, preexec_fn=lambda: os.sched_setaffinity(0, self.cores))
        self.pid = self.child.pid

    def kill(self):
        """SIGKILL."""
        self.child.kill()
        self.child.wait()

    def alive(self):
        return self.child.poll() is None

    def wait_until(self, condition, what, seconds):
        """Waits for `condition()` while the process lives; fails with the tail of its log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                raise Failure(f"{self.name} ended by itself ({self.child.returncode}):\n{self.tail()}")
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise Failure(f"{self.name}: {what}: not within {seconds} s\n{self.tail()}")

    def tail(self):
        return pathlib.Path(self.log).read_text(errors="replace")[-2000:]

    def stop(self, seconds=30):
        """SIGTERM, then SIGKILL after `seconds`. Returns the exit status."""
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                say(f"{self.name} did not stop in {seconds} s: killed")
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def process_ns(pid):
    """CPU nanoseconds of a whole process, ended threads included: its CPU-time clock (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def thread_ns(pid, prefix):
    """CPU nanoseconds of the living threads whose name starts with `prefix`, from /proc/PID/task/*/schedstat."""
    total, found = 0, 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(prefix):
            total += int((task / "schedstat").read_text().split()[0])
            found += 1
    if not found:
        raise Failure(f"process {pid} has no thread named {prefix}*")
    return total


def click_ns(waypost):
    """CPU nanoseconds of every thread but the main one: it does nothing for a click, but answers the scrapes by which a test
    waits for the delivery."""
    main = pathlib.Path(f"/proc/{waypost.pid}/task/{waypost.pid}/schedstat").read_text().split()[0]
    return process_ns(waypost.pid) - int(main)


def threads_ns(pid):
    """CPU nanoseconds by thread name."""
    by_name = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        by_name[(task / "comm").read_text().strip()] += int((task / "schedstat").read_text().split()[0])
    return by_name


def children_of(pid):
    """The children of a process, by /proc."""
    return [int(word) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()]


def status_bytes(pid, field):
    """A size of /proc/PID/status in bytes: VmRSS, RssAnon, RssFile, RssShmem, VmHWM."""
    found = re.search(rf"^{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


def io_bytes(pid, field="write_bytes"):
    """Bytes a process sent to the block layer (/proc/PID/io)."""
    return int(re.search(rf"^{field}: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


# --- HTTP -----------------------------------------------------------------------------------------------------------

def get(port, path, headers=None, seconds=10):
    """One GET: status, headers (lower case, last wins) and body; None if nothing answers."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def head(peer):
    """Reads the head of an answer, through its empty line; less if the peer closes before."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = peer.recv(65536)
        if not more:
            break
        answer += more
    return answer


def exchange(port, request, seconds=5):
    """Sends raw bytes and returns the head of the answer."""
    with socket.create_connection((HOST, port), timeout=seconds) as peer:
        peer.sendall(request)
        return head(peer)


class Waypost(Process):
    """`waypost serve` with one worker, on a links file or (`links` None) on its catalog. `tables`: further listeners, settings of each beside its address; their ports are `ports`."""

    def __init__(self, binary, directory, links, cores, kafka=None, env=None, args=(), workers=1, tables=()):
        directory.mkdir(parents=True, exist_ok=True)
        self.data, self.port, self.admin = directory / "data", free_port(), free_port()
        self.ports = [free_port() for _ in tables]
        listen = [f'"{HOST}:{self.port}"']
        listen += [f'{{ address = "{HOST}:{port}", {table} }}' for port, table in zip(self.ports, tables)]
        command = [binary, "serve", *(["--links", links] if links else []), "--listen", f"[{', '.join(listen)}]" if tables else f"{HOST}:{self.port}",
                   "--admin", f"{HOST}:{self.admin}", "--data-dir", self.data, *args]
        if kafka:
            command += ["--kafka", kafka]
        # A generator sends more requests a connection than a buyer, and all of them from one address.
        settings = {"WAYPOST__EDGE__WORKERS": str(workers), "WAYPOST__EDGE__LIMITS__MAX_REQUESTS": "4000000000",
                    "WAYPOST__EDGE__LIMITS__MAX_CONNECTIONS_PER_ADDRESS": "1000000",
                    "WAYPOST__EDGE__LIMITS__MAX_UNKNOWN_CODES_PER_ADDRESS": "4000000000", **(env or {})}
        super().__init__("waypost", command, cores, directory / "waypost.log", settings, cwd=directory)

    def ready(self, seconds=60):
        self.wait_until(lambda: (get(self.admin, "/readyz") or (0,))[0] == 200, "/readyz answers 200", seconds)
        return self

    def keep_apart(self, worker_cores, other_cores):
        """Pins the worker to cores of its own, and every other thread (delivery, spiller, admin) to the others."""
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            worker = (task / "comm").read_text().startswith("wp-worker-")
            os.sched_setaffinity(int(task.name), worker_cores if worker else other_cores)
        return self

    def metrics(self):
        """The sum of each metric over its labels, by name."""
        answer = get(self.admin, "/metrics")
        if not answer or answer[0] != 200:
            raise Failure("waypost: /metrics does not answer")
        totals = collections.Counter()
        for line in answer[2].decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                totals[name.split("{")[0]] += float(value)
        return totals

    def histogram(self, name, label=""):
        """Observations up to each bound and with it, by bound; their sum under "sum". Of series whose line has `label`."""
        found = collections.Counter()
        for line in get(self.admin, "/metrics")[2].decode().splitlines():
            if label not in line:
                continue
            if bucket := re.match(rf'{name}_bucket{{.*le="([^"]+)"}} (\S+)$', line):
                found[float(bucket[1])] += float(bucket[2])
            elif total := re.match(rf"{name}_sum(?:{{.*}})? (\S+)$", line):
                found["sum"] += float(total[1])
        return found

    def settled(self, at_least=0, seconds=120):
        """Waits until every journaled click is delivered, `at_least` clicks in all. Returns the metrics."""
        now = {}

        def done():
            now.update(self.metrics())
            everything = now["waypost_clicks_journaled_total"] + now["waypost_clicks_recovered_total"]
            delivered = now["waypost_clicks_delivered_total"]
            return now["waypost_journal_backlog_clicks"] == 0 and delivered == everything and delivered >= at_least

        try:
            self.wait_until(done, f"{at_least:.0f} clicks journaled and all delivered", seconds)
        except Failure as failure:
            state = {name: value for name, value in now.items() if "click" in name or "ring" in name}
            raise Failure(f"{failure}\nlast seen: {json.dumps(state, indent=1)}") from None
        return now


# --- the machine and the archive ------------------------------------------------------------------------------------

def first_line(*command):
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
        lines = (ran.stdout + ran.stderr).splitlines()
        return lines[0].strip() if lines else None
    except OSError:
        return None


def setup(binary):
    """Machine, kernel, versions and commit of a run. No path and no host name."""
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    git = ["git", "-C", str(ROOT)]
    memory = re.search(r"^MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return {
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": int(memory[1]) // 1024,
        "kernel": platform.release(),
        "load_average_before": os.getloadavg()[0],
        "waypost": first_line(binary, "--version"),
        "commit": first_line(*git, "rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(first_line(*git, "status", "--porcelain", "--untracked-files=no", "--", "src")),
        "nginx": first_line("nginx", "-v"),
        "wrk": first_line("wrk", "-v"),
        "gcc": first_line("gcc", "--version"),
        "rustc": first_line("rustc", "--version"),
    }


def archive(name, text, record):
    """Writes a run to loadtest/results: the printed text, and everything that was measured."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.txt").write_text(text)
    (results / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    say(f"kept as loadtest/results/{name}.txt and .json")


def keep(name, text, record):
    """Prints the result of a run, and archives it if it has a name."""
    print(text)
    if name:
        archive(name, text, record)


def run(main):
    """Runs a load test. A `Failure` is printed in one line with the script's name, with exit code 1."""
    end_on_signal()
    try:
        main()
    except Failure as failure:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {failure}")


def end_on_signal():
    """SIGTERM ends the run as an error does: the atexit handlers stop every child."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
