"""A consumer that counts each click once, knows when a day is complete, and closes it. Needs confluent-kafka.

    close_day.py --kafka HOST:PORT --database clicks.sqlite --edges seoul-1,seoul-2 --day 2026-11-21

Reads clicks, clicks.orphan and clicks.lanes until every lane of these edges says that the day is complete; then prints the clicks
of the day by creator and source, as one line of JSON. It can be stopped and started at any time, and reads each record once. Exit
0: the day is closed. Exit 3: it is not complete within --patience seconds, and the message says which edge it waits for.
"""
import argparse
import datetime
import json
import sys
import time

import confluent_kafka

from click_store import CLICK_TOPICS, DAY_MS, LANES_TOPIC, ClickStore

BATCH = 1000


class TopicReader:
    """Reads the three topics from the positions of the store, and commits nothing to Kafka."""

    def __init__(self, kafka, store):
        self.store = store
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": kafka, "group.id": "waypost-close-day", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "enable.partition.eof": True, "isolation.level": "read_committed"})
        self.partitions = [(topic, partition) for topic in (*CLICK_TOPICS, LANES_TOPIC)
                           for partition in self.consumer.list_topics(topic, timeout=30).topics[topic].partitions]
        known = store.positions()
        #: (topic, partition) → the offset up to which everything is read: of the last record, or of the end that was reached. The
        #: end counts what is no record, such as the marks of transactions.
        self.read_to = dict(known)
        self.consumer.assign([confluent_kafka.TopicPartition(topic, partition, known.get((topic, partition), 0))
                              for topic, partition in self.partitions])

    def read_batch(self):
        records = []
        for message in self.consumer.consume(BATCH, 1.0):
            key = message.topic(), message.partition()
            if message.error():
                if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                    raise confluent_kafka.KafkaException(message.error())
                self.read_to[key] = message.offset()
                continue
            self.read_to[key] = message.offset() + 1
            arrived = dict(message.headers() or ()).get("wp_shipped_at_ms", b"0")
            records.append((*key, message.offset(), message.value(), int(arrived)))
        if records:
            self.store.take(records)

    def ends(self):
        """(topic, partition) → the offset at which the click topics end now."""
        return {(topic, partition): self.consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=30)[1]
                for topic, partition in self.partitions if topic in CLICK_TOPICS}

    def has_read_to(self, ends):
        return all(self.read_to.get(key, 0) >= end for key, end in ends.items())


def wait_for_day(reader, store, edges, day, patience):
    """Reads until the day is complete; the watermark, if it is not within `patience` seconds, else None.

    What a statement says was true before it was sent. So the ends of the click topics are asked for after the statement was read,
    and the day is closed once they are read to those ends.
    """
    deadline, ends = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        reader.read_batch()
        watermark = store.watermark_ms(edges)
        if ends is None and watermark is not None and watermark >= (day + 1) * DAY_MS:
            ends = reader.ends()
        if ends is not None and reader.has_read_to(ends):
            return None
    return f"the clicks of {', '.join(edges)} are complete to {store.watermark_ms(edges)} ms, not to {(day + 1) * DAY_MS}"


def main():
    parser = argparse.ArgumentParser(description="Count the clicks of a day once it is complete.")
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--database", required=True, help="SQLite file of this consumer")
    parser.add_argument("--edges", required=True, help="every edge that takes clicks, separated by commas")
    parser.add_argument("--day", required=True, type=datetime.date.fromisoformat, help="UTC, such as 2026-11-21")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for the day (60)")
    options = parser.parse_args()
    store, edges = ClickStore(options.database), options.edges.split(",")
    day = (options.day - datetime.date(1970, 1, 1)).days
    why_not = wait_for_day(TopicReader(options.kafka, store), store, edges, day, options.patience)
    if why_not:
        sys.exit(print(f"close_day.py: {options.day} is not complete: {why_not}", file=sys.stderr) or 3)
    report = store.close_day(day)
    print(json.dumps({**report, "day": str(options.day), "after_close": store.clicks_after_close(day)}))


if __name__ == "__main__":
    main()
