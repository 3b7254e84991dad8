#!/usr/bin/env python3
"""Is a click missing? The rule of completeness.md, to be read beside it.

    audit.py LANES TOPIC=CLICKS [TOPIC=CLICKS ...]

LANES and CLICKS are files of record values, one a line, as any Kafka client writes them: a JSON object, or a click in
Protobuf (click.v1.proto) in hexadecimal digits. One file can have both. The topics must be whole.
Prints one JSON object for each edge, lane and topic. Exits 1 if a click is missing, 3 if none is missing but not all is
proved, 0 if all is proved.
"""
import collections
import json
import sys


# The fields of a click that the rule reads, by their numbers in click.v1.proto.
FIELDS = {1: "type", 5: "edge", 6: "lane", 7: "epoch", 8: "seq", 9: "safe"}


def read_varint(value, at):
    number = shift = 0
    while True:
        number |= (value[at] & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if value[at - 1] < 0x80:
            return number, at


def read_protobuf(value):
    """The fields of a click. A value that begins with 0 has the prefix of a schema registry: five bytes and an index."""
    record, at = {}, 6 if value[0] == 0 else 0
    while at < len(value):
        tag, at = read_varint(value, at)
        field, at = read_varint(value, at)
        if tag & 7 == 2:
            field, at = value[at:at + field].decode(), at + field
        if tag >> 3 in FIELDS:
            record[FIELDS[tag >> 3]] = field
    return record


def read_records(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    return [json.loads(line) if line.startswith("{") else read_protobuf(bytes.fromhex(line)) for line in lines]


def as_pair(watermark):
    """A watermark that compares by epoch, then by number."""
    return watermark["epoch"], watermark["next"]


def as_ranges(numbers):
    """Numbers as [first, end) ranges."""
    ranges = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges


class Clicks:
    """The clicks of a topic, by (edge, lane, epoch)."""

    def __init__(self, path):
        self.present = collections.defaultdict(set)
        self.safe, self.repeats = collections.Counter(), collections.Counter()
        for click in read_records(path):
            key = click["edge"], click["lane"], click["epoch"]
            self.repeats[key] += click["seq"] in self.present[key]
            self.present[key].add(click["seq"])
            self.safe[key] = max(self.safe[key], click["safe"])


def judge(edge, lane, topic, clicks, statements):
    """The verdict on one lane and topic: the absent numbers by kind, and whether everything is proved."""
    progress = [(one["epoch"], one) for one in statements]
    ended = {end["epoch"]: end for one in statements for end in one["ended"]}
    own_keys = [key for key in clicks.present if key[:2] == (edge, lane)]
    epochs = {key[2] for key in own_keys} | set(ended) | {one["epoch"] for one in statements}
    delivered = max((as_pair(one["delivered"]) for _, one in progress), default=(0, 0))
    safe = max((as_pair(one["safe"]) for _, one in progress), default=(0, 0))
    left_out = [one["quarantined"][0] for one in statements if one.get("quarantined_omitted") and one["quarantined"]]
    omitted_below = max(((gone["epoch"], gone["from"]) for gone in left_out), default=(0, 0))
    absent = collections.defaultdict(list)
    for epoch in sorted(epochs):
        key = edge, lane, epoch
        present, end = clicks.present[key], ended.get(epoch)
        explained = {number for _, one in progress for gone in one["quarantined"] + one.get("dead_lettered", [])
                     if gone["epoch"] == epoch for number in range(gone["from"], gone["to"])}
        stated_safe = [one["safe"]["next"] for _, one in progress if one["safe"]["epoch"] == epoch]
        own_safe = max([clicks.safe[key], *stated_safe])
        ended_at = end["next_seq"] if end else 0

        def covered_by(watermark):
            return 0 if watermark[0] < epoch else watermark[1] if watermark[0] == epoch else max(ended_at, own_safe)

        d = covered_by(delivered)
        s = max(covered_by(safe), own_safe, d)
        g = max([s, ended_at, max(present, default=-1) + 1] + [one["next_seq"] for of, one in progress if of == epoch])
        unexplained = set(range(g)) - present - explained
        rest = "lost_by_cut" if end and end["cut"] else "not_shipped" if end or epoch == max(epochs) else "unproved"
        o = min(d, covered_by(omitted_below) if omitted_below[0] <= epoch else d)
        for kind, low, high in (("unproved", 0, o), ("missing", o, d), ("not_shipped", d, s), (rest, s, g)):
            absent[kind] += [[epoch, *pair] for pair in as_ranges(n for n in unexplained if low <= n < high)]
    last = max(statements, key=lambda one: one["at_ms"], default=None)
    without_end = {one["epoch"] for one in statements} - {0, max(epochs)} - set(ended)
    proved = bool(statements) and not any(absent.values()) and not without_end
    proved = proved and not any(end["cut"] for end in ended.values()) and last["kind"] in ("closing", "drained")
    unrecorded = collections.Counter()
    for one in statements:
        unrecorded[one["epoch"]] = max(unrecorded[one["epoch"]], one.get("unrecorded", 0))
    return {
        "edge": edge, "lane": lane, "topic": topic, "numbers": sum(len(clicks.present[key]) for key in own_keys),
        "repeats": sum(clicks.repeats[key] for key in own_keys), "unrecorded": sum(unrecorded.values()),
        **{kind: absent[kind] for kind in sorted(absent)}, "whole": proved}


def main(lanes_path, *topics):
    statements = collections.defaultdict(list)
    for one in read_records(lanes_path):
        statements[one["edge"], one["topic"], one["lane"]].append(one)
    missing, unproved = False, not statements
    for topic, path in (argument.split("=", 1) for argument in topics):
        clicks = Clicks(path)
        stated = {(edge, lane) for edge, of_topic, lane in statements if of_topic == topic}
        for edge, lane in sorted(stated | {key[:2] for key in clicks.present}):
            verdict = judge(edge, lane, topic, clicks, statements[edge, topic, lane])
            print(json.dumps(verdict))
            missing, unproved = missing or bool(verdict["missing"]), unproved or not verdict["whole"]
    return 1 if missing else 3 if unproved else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
