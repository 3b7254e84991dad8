"""The three results beside each other: the topic of Flink, `waypost attribute`, the model. Any difference fails the run."""
import json
import subprocess
import time

import confluent_kafka

from harness import Failure, say

#: Differing rows that a failure shows.
SHOWN = 5


def read_topics(address, topics):
    """Topic → the values of its records up to its present end, as committed, oldest first in each partition."""
    return {topic: [value for _, value in read(address, topic)] for topic in topics}


def read(address, topic):
    """Key and value of each committed record."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": "money-compare", "enable.auto.commit": False,
                                         "enable.partition.eof": True, "isolation.level": "read_committed"})
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in partitions])
        records, ended, deadline = [], set(), time.monotonic() + 120
        while len(ended) < len(partitions):
            message = consumer.poll(1)
            if time.monotonic() > deadline:
                raise Failure(f"topic {topic} could not be read to its end in 120 s")
            if message is None:
                continue
            if message.error():
                if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                continue
            records.append((message.key(), message.value()))
        return records
    finally:
        consumer.close()


def attribute(run, selling, orders, directory):
    """The rows of `waypost attribute` over the topics, as of the last tick, by order and line."""
    aside = {value.encode() for value in selling.late + selling.refused}
    files = {"orders": [value for value in orders if value not in aside],
             "product-sets": [value for _, value in read(run.kafka.address, "product_sets")],
             "links": [value for _, value in read(run.kafka.address, "links")]}
    words = [run.binary, "attribute", "--kafka", run.kafka.address, "--as-of", str(run.end_ms), "--json"]
    for name, values in files.items():
        path = directory / f"{name}.jsonl"
        path.write_bytes(b"".join(value + b"\n" for value in values))
        words += [f"--{name}", str(path)]
    ran = subprocess.run(words, capture_output=True, text=True)
    if ran.returncode:
        raise Failure(f"waypost attribute exits {ran.returncode}: {ran.stderr[-2000:]}")
    return by_line(json.loads(line) for line in ran.stdout.splitlines())


def by_line(rows):
    """Rows without what is not the same on purpose: the candidates, the payment, and the moment that a row was last touched."""
    left_out = ("candidates", "as_of_ms", "paid_at_ms")
    return {(row["order_id"], row["line_id"]): {key: value for key, value in row.items() if key not in left_out} for row in rows}


def compare(name, rows, other_name, others):
    """Fails with the first differing rows."""
    if differing := differences(rows, others):
        shown = "\n".join(f"{key[0]} line {key[1]}\n  {name}: {json.dumps(rows.get(key))}\n  {other_name}: {json.dumps(others.get(key))}"
                          for key in differing[:SHOWN])
        raise Failure(f"{len(differing)} rows differ between {name} and {other_name}:\n{shown}")


def differences(rows, others):
    return sorted(key for key in rows.keys() | others.keys() if rows.get(key) != others.get(key))


def commissions(address):
    """The last row of each key of the compacted topic."""
    last = {}
    for key, value in read(address, "commissions"):
        last[key] = value
    return by_line(json.loads(value) for value in last.values() if value is not None)


def wait_for_commissions(run, expected, seconds):
    """Waits until Flink has written every row as expected; after `seconds` it fails with the rows that differ."""
    deadline, shown = time.monotonic() + seconds, None
    while True:
        rows = commissions(run.kafka.address)
        differing = len(differences(rows, expected))
        if not differing:
            break
        if time.monotonic() > deadline:
            compare("commissions", rows, "the model", expected)
        if differing != shown:
            say(f"{differing} rows are not as expected yet")
            shown = differing
        time.sleep(5)
    run.before_stop = run.flink.restarts_and_checkpoints()


def check_side_topics(address, selling):
    """Late and refused orders are on their topics once, whatever was killed: they are written in transactions."""
    late = sorted(value.decode() for _, value in read(address, "late_orders"))
    if late != sorted(selling.late):
        raise Failure(f"late_orders has {len(late)} records, {len(set(late))} different; {len(selling.late)} were sent")
    refused = sorted(json.loads(value)["value"] for _, value in read(address, "refused_orders"))
    if refused != sorted(selling.refused):
        raise Failure(f"refused_orders has {len(refused)} records, {len(set(refused))} different; {len(selling.refused)} were sent")
