"""One node of Apache Kafka on free loopback ports, for a measurement: fresh data, ended with the run.

The jars are those of the tests (tests/it/kafka/pom.xml), fetched once by Maven into the build's target directory.
"""
import os
import pathlib
import socket
import subprocess
import sys

import harness
from harness import Failure, say

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={directory}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# The default of 128 MiB is allocated on the heap at start.
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=65536
"""
LOGGING = """\
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
"""


def libraries():
    """The folder of jars; fetched if it is not complete."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or harness.ROOT / "target")
    libs = target / "loadtest-kafka"
    if not (libs / "done").exists():
        say("fetching Kafka's jars")
        pom = harness.ROOT / "tests/it/kafka/pom.xml"
        subprocess.run(["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={libs}"],
                       check=True, stdout=sys.stderr)
        (libs / "done").touch()
    return libs


class Broker(harness.Process):
    """A broker that answers; its JVM compiles fully, as in production."""

    def __init__(self, directory, cores):
        directory.mkdir(parents=True, exist_ok=True)
        client = harness.free_port()
        self.address = f"{harness.HOST}:{client}"
        properties, logging = directory / "server.properties", directory / "log4j2.properties"
        properties.write_text(PROPERTIES.format(client=client, controller=harness.free_port(), directory=directory))
        logging.write_text(LOGGING)
        java = ["java", "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={logging}",
                "-cp", f"{libraries()}/*"]
        formatted = subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "--cluster-id", "loadtest", "-c", properties],
            capture_output=True, text=True, cwd=directory)
        if formatted.returncode:
            raise Failure(f"the broker's directory cannot be formatted:\n{formatted.stdout}{formatted.stderr}")
        super().__init__("kafka", [*java, "kafka.Kafka", properties], cores, directory / "broker.log", cwd=directory)
        self.wait_until(lambda: self._open(client), "its port is open", 90)

    @staticmethod
    def _open(port):
        try:
            socket.create_connection((harness.HOST, port), timeout=1).close()
            return True
        except OSError:
            return False


def make_topics(binary, address):
    """The topics as Waypost recommends them, with one copy."""
    made = subprocess.run(
        [binary, "kafka", "setup", "--apply", "--replication", "1", "--kafka", address], capture_output=True, text=True)
    if made.returncode:
        raise Failure(f"`waypost kafka setup` failed:\n{made.stdout}{made.stderr}")
