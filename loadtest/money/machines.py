"""The machines of the run, each a process that can be killed and started again: three edges, three nodes of Kafka, and a Flink
cluster of two task managers with the launcher that watches its jobs.
"""
import json
import os
import pathlib
import random
import socket
import subprocess
import threading
import time

import broker
import harness
from harness import HOST, Failure, say

PIPELINE = harness.ROOT / "deploy/flink"
JOBS = ("winners", "commissions", "statistics")
CORES = os.sched_getaffinity(0)
#: How long a program may take to start or to stop, seconds. On a quiet machine all of them take one minute together.
START_SECONDS = 900
#: Nothing is measured here: a JVM that is killed again and again is better up soon than fast.
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
NODE = """\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={directory}/data
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
share.coordinator.state.topic.num.partitions=1
unclean.leader.election.enable=false
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# A node that starts while the others are away gives up after this; the default is one minute.
initial.broker.registration.timeout.ms=600000
"""


def is_open(port):
    try:
        socket.create_connection((HOST, port), timeout=1).close()
        return True
    except OSError:
        return False


class Kafka:
    """Three nodes, each broker and controller; every topic has three copies, of which two must be in sync."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = [(harness.free_port(), harness.free_port()) for _ in range(3)]
        self.address = ",".join(f"{HOST}:{client}" for client, _ in self.ports)
        voters = ",".join(f"{number + 1}@{HOST}:{controller}" for number, (_, controller) in enumerate(self.ports))
        for number, (client, controller) in enumerate(self.ports):
            node = directory / f"node-{number}"
            node.mkdir(parents=True)
            (node / "log4j2.properties").write_text(broker.LOGGING)
            (node / "server.properties").write_text(
                NODE.format(id=number + 1, voters=voters, client=client, controller=controller, directory=node))
            formatted = subprocess.run(
                [*self.java(node), "kafka.tools.StorageTool", "format", "--cluster-id", "loadtest-money-run", "-c",
                 node / "server.properties"], capture_output=True, text=True, cwd=node)
            if formatted.returncode:
                raise Failure(f"a node's directory cannot be formatted:\n{formatted.stdout}{formatted.stderr}")
        self.nodes = [self.start_node(number) for number in range(3)]
        self.wait()

    @staticmethod
    def java(node):
        return ["java", "-Xmx320m", *QUICK_START, f"-Dlog4j2.configurationFile={node / 'log4j2.properties'}",
                "-cp", f"{broker.libraries()}/*"]

    def start_node(self, number):
        node = self.directory / f"node-{number}"
        return harness.Process(f"kafka-{number + 1}", [*self.java(node), "kafka.Kafka", node / "server.properties"], CORES,
                               node / "broker.log", cwd=node)

    def wait(self):
        for node, (client, _) in zip(self.nodes, self.ports):
            node.wait_until(lambda client=client: is_open(client), "its port is open", START_SECONDS)


def restart_ended(processes):
    """Starts processes again that gave up by themselves, as a service manager does. Returns their number."""
    ended = [process for process in processes if not process.alive() and process not in Killer.held_down]
    for process in ended:
        say(f"{process.name} gave up by itself, and is started again")
        process.start()
    return len(ended)


class Edges:
    """Three edges with one key ring, each with its own name and data directory."""

    def __init__(self, binary, directory, scene, kafka):
        self.binary, self.directory, self.kafka = binary, directory, kafka
        directory.mkdir()
        self.links = directory / "links.jsonl"
        scene.write_links(self.links)
        (directory / "waypost.toml").write_text(
            '[domains."*"]\napp_resolves = true\n[domains."go.example.com"]\ncookie_domain = "example.com"\napp_resolves = true\n')
        first = self.start_edge(1).ready(START_SECONDS)
        self.run("keys", "export", "--data-dir", first.data, "--out", directory / "ring.json")
        self.all = [first]
        for number in (2, 3):
            self.run("keys", "import", directory / "ring.json", "--data-dir", directory / f"edge-{number}/data")
            self.all.append(self.start_edge(number))
        for edge in self.all:
            edge.ready(START_SECONDS)

    def run(self, *words):
        subprocess.run([str(word) for word in (self.binary, *words)], check=True, stdout=subprocess.DEVNULL)

    def start_edge(self, number):
        env = {"WAYPOST__EDGE__ID": f"edge-{number}", "WAYPOST_CONFIG": str(self.directory / "waypost.toml")}
        edge = harness.Waypost(self.binary, self.directory / f"edge-{number}", self.links, CORES, kafka=self.kafka, env=env)
        edge.name = f"edge-{number}"
        return edge

    def stop(self):
        """Waits until nothing waits for Kafka, and stops each edge: its last statements are then on their topic."""
        for edge in self.all:
            edge.settled(seconds=START_SECONDS)
            if edge.stop(60) != 0:
                raise Failure(f"{edge.name} did not stop cleanly:\n{edge.tail()}")


class Flink:
    """A job manager, two task managers with three slots each, and the launcher with the three jobs."""

    def __init__(self, directory, kafka, parallelism=2):
        self.directory, self.kafka, self.parallelism = directory, kafka, parallelism
        directory.mkdir()
        self.rest, self.rpc = harness.free_port(), harness.free_port()
        jars = broker.libraries().parent / "flink"
        subprocess.run([PIPELINE / "build.sh", jars], check=True, stdout=subprocess.DEVNULL)
        self.env = {"FLINK_HOME_DIR": str(jars), "FLINK_JAVA": " ".join(QUICK_START)}
        self.settings = [f"KAFKA={kafka}", f"STATE_DIR={directory / 'state'}", f"CLUSTER={HOST}:{self.rest}",
                         "CHECKPOINT_INTERVAL=3 s", f"PARALLELISM={parallelism}"]
        self.manager = self.program("jobmanager", "-D", f"rest.port={self.rest}", "-D", f"rest.bind-port={self.rest}",
                                    "-D", f"jobmanager.rpc.port={self.rpc}")
        self.task_managers = [
            self.program("taskmanager", "-D", f"jobmanager.rpc.port={self.rpc}", name=f"taskmanager-{number}") for number in (1, 2)]

    def program(self, *words, name=None):
        return harness.Process(name or words[0], [PIPELINE / "flink.sh", *words], CORES,
                               self.directory / f"{name or words[0]}.log", env=self.env)

    def make_topics(self):
        made = subprocess.run([PIPELINE / "flink.sh", "topics", "3", "3", f"KAFKA={self.kafka}"], capture_output=True, text=True,
                              env={**os.environ, **self.env})
        if made.returncode:
            raise Failure(f"flink.sh topics: {made.stdout}{made.stderr}")

    def start(self):
        deadline = time.monotonic() + START_SECONDS
        # On a busy machine Flink's own bound of ten seconds for the start of its network ends a process now and then.
        while self.overview().get("taskmanagers") != 2:
            restart_ended([self.manager, *self.task_managers])
            if time.monotonic() > deadline:
                raise Failure(f"no two task managers in {START_SECONDS} s:\n{self.manager.tail()}")
            time.sleep(1)
        self.launcher = self.program("run", *JOBS, *self.settings, name="launcher")
        self.launcher.wait_until(lambda: self.launcher.tail().count(": running, ") == len(JOBS), "three jobs run", 2 * START_SECONDS)

    def overview(self):
        answer = harness.get(self.rest, "/overview")
        return json.loads(answer[2]) if answer and answer[0] == 200 else {}

    def restarts_and_checkpoints(self):
        """Of all jobs: how often each was restored, and how many checkpoints were completed."""
        jobs = json.loads(harness.get(self.rest, "/jobs")[2])["jobs"]
        counts = [json.loads(harness.get(self.rest, f"/jobs/{job['id']}/checkpoints")[2])["counts"] for job in jobs]
        return sum(one["restored"] for one in counts), sum(one["completed"] for one in counts)

    def stop(self):
        """SIGTERM to the launcher: each job ends with a savepoint."""
        self.launcher.stop(START_SECONDS)
        said = pathlib.Path(self.launcher.log).read_text(errors="replace")
        if said.count("stopped, savepoint ") != len(JOBS):
            raise Failure(f"not every job stopped with a savepoint:\n{said[-3000:]}")


class Killer(threading.Thread):
    """Kills machines of a group with SIGKILL at random times, and starts them again after some seconds, until `stop`.

    `every` and `down`: bounds of the seconds until the next kill, and until the start. `at_once`: how many are killed, by chance.
    `wait` returns when a machine that was started serves again; only then the next kill is timed.
    """

    #: Machines that are killed and not started yet.
    held_down = set()

    def __init__(self, machines, every, down, seed, at_once=(1,), wait=lambda machine: None):
        super().__init__(daemon=True)
        self.machines, self.every, self.down, self.at_once, self.wait = machines, every, down, at_once, wait
        self.chooser, self.stopping, self.log, self.failure = random.Random(seed), threading.Event(), [], None
        self.start()

    def run(self):
        try:
            while not self.stopping.wait(self.chooser.uniform(*self.every)):
                victims, away = self.chooser.sample(self.machines, self.chooser.choice(self.at_once)), self.chooser.uniform(*self.down)
                self.held_down.update(victims)
                for machine in victims:
                    machine.kill()
                    self.log.append((time.time(), machine.name, away))
                say(f"killed {', '.join(machine.name for machine in victims)} for {away:.0f} s")
                time.sleep(away)
                for machine in victims:
                    machine.start()
                self.held_down.difference_update(victims)
                for machine in victims:
                    self.wait(machine)
        except Exception as failure:
            self.failure = failure

    def stop(self):
        self.stopping.set()
        self.join(START_SECONDS)
        if self.failure:
            raise Failure(f"killing failed: {self.failure!r}")
