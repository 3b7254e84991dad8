"""A million random clicks through `waypost attribute` and through Flink over a real Kafka, row by row. See million.sh.

Each batch has random records (million_worlds.py) and a policy of its own. They go to topics of their own, and into files for the
command. The jobs `winners` and `commissions` run over the topics in bounded mode, and the rows of both are compared whole.
"""
import argparse
import collections
import json
import os
import random
import subprocess
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

import broker
import flink as flink_load
import harness
import million_worlds
from harness import Failure, say
from money import compare

BASE_MS = 1_796_083_200_000
#: Every order is paid within 20 days of the base, and its last change lies 28 days later.
AS_OF_MS = BASE_MS + 38 * million_worlds.DAY
TOPICS = ("clicks", "clicks.orphan", "orders", "product_sets", "links", "commission_winners", "commissions", "late_orders",
          "refused_orders")
#: The policies of the batches, in turn; as the command takes them.
POLICIES = ({}, {"scope": "any"}, {"excluded_sources": ["tiktok"], "self_purchase": "credit"},
            {"shared_token": "refuse", "token_only": "refuse"}, {"confirm_days": 7, "payable_from_days": 15, "payable_until_days": 20})


class Batch:
    """The topics and the files of one batch."""

    def __init__(self, number, address, directory):
        self.prefix, self.address = f"b{number}-", address
        admin = AdminClient({"bootstrap.servers": address})
        wanted = [NewTopic(self.prefix + topic, 2 if topic in ("clicks", "orders", "commissions") else 1, 1, config={
            "message.timestamp.after.max.ms": "9223372036854775807", "retention.ms": "-1"}) for topic in TOPICS]
        for made in admin.create_topics(wanted).values():
            made.result(60)
        self.producer = confluent_kafka.Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 20,
                                                  "compression.type": "lz4", "queue.buffering.max.messages": 200_000})
        self.paths = {topic: directory / f"{self.prefix}{topic}.jsonl" for topic in ("clicks", "clicks.orphan", "orders", "product_sets", "links")}
        self.files = {topic: open(path, "w", buffering=1 << 20) for topic, path in self.paths.items()}
        self.counts = collections.Counter()

    def send(self, topic, key, value, timestamp, arrived_at):
        text = json.dumps(value, separators=(",", ":"))
        headers = [("wp_shipped_at_ms", str(arrived_at))] if arrived_at is not None else None
        while True:
            try:
                self.producer.produce(self.prefix + topic, text, key, headers=headers, **({"timestamp": timestamp} if timestamp else {}))
                break
            except BufferError:
                self.producer.poll(0.5)
        self.producer.poll(0)
        self.files[topic].write(text if arrived_at is None else f'{text[:-1]},"arrived_at_ms":{arrived_at}}}')
        self.files[topic].write("\n")
        self.counts[topic] += 1

    def finish(self):
        for file in self.files.values():
            file.close()
        if self.producer.flush(300):
            raise Failure("not every record was delivered in 300 s")

    def settings(self, policy):
        names = {"TOPIC_CLICKS": "clicks", "TOPIC_ORPHANS": "clicks.orphan", "TOPIC_ORDERS": "orders", "TOPIC_PRODUCT_SETS": "product_sets",
                 "TOPIC_LINKS": "links", "TOPIC_WINNERS": "commission_winners", "TOPIC_COMMISSIONS": "commissions",
                 "TOPIC_LATE_ORDERS": "late_orders", "TOPIC_REFUSED_ORDERS": "refused_orders"}
        values = {key.upper(): ",".join(value) if isinstance(value, list) else value for key, value in policy.items()}
        return [*(f"{name}={self.prefix}{topic}" for name, topic in names.items()), *(f"{name}={value}" for name, value in values.items()),
                f"GROUP={self.prefix}jobs", "MODE=bounded", f"AS_OF={AS_OF_MS}"]

    def rows_of_flink(self):
        last = {}
        for key, value in compare.read(self.address, f"{self.prefix}commissions"):
            last[key] = value
        for topic in ("late_orders", "refused_orders"):
            if found := compare.read(self.address, self.prefix + topic):
                raise Failure(f"{topic} has {len(found)} records, such as {found[0]}; no order is late or wrong")
        return compare.by_line(json.loads(value) for value in last.values() if value is not None)

    def rows_of_attribute(self, binary, policy, directory):
        file = directory / "policy.json"
        file.write_text(json.dumps(policy))
        words = [binary, "attribute", "--clicks", self.paths["clicks"], "--clicks", self.paths["clicks.orphan"], "--orders",
                 self.paths["orders"], "--product-sets", self.paths["product_sets"], "--links", self.paths["links"], "--policy", file,
                 "--as-of", AS_OF_MS, "--json"]
        ran = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        if ran.returncode:
            raise Failure(f"waypost attribute exits {ran.returncode}: {ran.stderr[-2000:]}")
        return compare.by_line(json.loads(line) for line in ran.stdout.splitlines())


def run_batch(number, clicks, options, binary, kafka, flink, directory):
    """One batch. Returns its figures; fails if a row differs."""
    policy, batch = POLICIES[number % len(POLICIES)], Batch(number, kafka.address, directory)
    chooser, groups = random.Random(f"{options.seed} {number}"), clicks // million_worlds.CLICKS_OF_A_GROUP
    for group in range(groups):
        million_worlds.Group(group, chooser, batch.send, BASE_MS).play(orders=group % 10 == 0)
    batch.finish()
    say(f"batch {number + 1}: {dict(batch.counts)}, policy {policy or 'default'}")
    rows = batch.rows_of_attribute(binary, policy, directory)
    began = time.monotonic()
    words = flink.java("waypost.flink.RunSql", flink_load.PIPELINE, "run", "winners", "commissions", f"KAFKA={kafka.address}",
                       *batch.settings(policy))
    words[words.index("-Xmx1g")] = options.heap
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"Flink exits {done.returncode}: {done.stderr[-3000:]}")
    seconds = time.monotonic() - began
    compare.compare("Flink", batch.rows_of_flink(), "waypost attribute", rows)
    for path in batch.paths.values():
        path.unlink()
    say(f"batch {number + 1}: {len(rows)} rows are equal; Flink took {seconds:.0f} s")
    return {"policy": policy, "clicks": groups * million_worlds.CLICKS_OF_A_GROUP, "records": dict(batch.counts), "rows": len(rows),
            "seconds": round(seconds), "reasons": dict(collections.Counter(row["reason"] for row in rows.values())),
            "credited": sum("creator_id" in row for row in rows.values()),
            "flags": dict(collections.Counter(flag for row in rows.values() for flag in row.get("flags", ())))}


def main():
    parser = argparse.ArgumentParser(description="Random clicks through both implementations of the rule.")
    parser.add_argument("--clicks", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--heap", default="-Xmx4g", help="flag of Java for Flink (-Xmx4g)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    kafka = broker.Broker(directory / "kafka", os.sched_getaffinity(0))
    flink = flink_load.Flink(kafka.address, directory)
    record = {"setup": harness.setup(binary), "seed": options.seed}
    record["batches"] = [run_batch(number, options.clicks // options.batches, options, binary, kafka, flink, directory)
                         for number in range(options.batches)]
    total = lambda key: sum(batch[key] for batch in record["batches"])  # noqa: E731
    lines = [f"seed {options.seed}: {total('clicks')} clicks in {options.batches} batches, each under another policy: {total('rows')} rows, "
             f"{total('credited')} credited; Flink and waypost attribute give the same rows"]
    for batch in record["batches"]:
        sent = sum(batch["records"][topic] for topic in ("clicks", "clicks.orphan"))
        lines.append(f"{json.dumps(batch['policy'])}: {sent} records of {batch['clicks']} clicks, {batch['rows']} rows, {batch['seconds']} s in Flink; "
                     + ", ".join(f"{reason} {count}" for reason, count in sorted(batch["reasons"].items())))
    harness.keep(options.name, "\n".join(lines) + "\n", record)


if __name__ == "__main__":
    harness.run(main)
