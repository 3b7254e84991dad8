"""Writes a topic to a file of JSON lines, as the DuckDB queries read it: one object a record. Needs confluent-kafka.

    export_topic.py --kafka HOST:PORT --topic commissions --out commissions.jsonl

Each line has `partition`, `offset`, `key`, `arrived_at_ms` (the header wp_shipped_at_ms, else the record's time) and `value`, null
for a tombstone; a click in Protobuf is written as the same event in JSON. The export ends where the topic ended when it began.
"""
import argparse
import json

import confluent_kafka

from click_value import read_click_value


def export(kafka, topic, out):
    """Writes the records that are on the topic now. Returns their number."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka, "group.id": "waypost-export", "enable.auto.commit": False,
                                         "enable.partition.eof": True, "isolation.level": "read_committed"})
    left = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in left])
    count = 0
    while left:
        message = consumer.poll(30)
        if message is None:
            raise TimeoutError(f"{topic}: nothing came for 30 seconds, and partitions {sorted(left)} are not read to their end")
        if message.error():
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise confluent_kafka.KafkaException(message.error())
            left.discard(message.partition())
            continue
        arrived = dict(message.headers() or ()).get("wp_shipped_at_ms")
        value, key = message.value(), message.key()
        out.write(json.dumps({
            "partition": message.partition(), "offset": message.offset(), "key": key.decode() if key is not None else None,
            "arrived_at_ms": int(arrived) if arrived else message.timestamp()[1],
            "value": read_click_value(value) if value is not None else None}) + "\n")
        count += 1
    return count


def main():
    parser = argparse.ArgumentParser(description="Write a topic to a file of JSON lines.")
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    with open(options.out, "w", encoding="utf-8") as out:
        print(f"{export(options.kafka, options.topic, out)} records")


if __name__ == "__main__":
    main()
