#!/usr/bin/env python3
"""Is a click missing? The rule of completeness.md, for reading beside it.

    audit.py LANES TOPIC=CLICKS [TOPIC=CLICKS ...]

LANES and CLICKS are files of record values, one JSON object a line, as any Kafka client writes them. Prints one JSON object for each
edge, lane and topic; exits 1 if a click is missing, 3 if none is but not all is proved, 0 if all is. The topics must be whole.
"""
import collections
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def mark(said):
    return said["epoch"], said["next"]


def spans(numbers):
    """Numbers as [from, to) ranges."""
    found = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return found


def main(lanes_file, *topics):
    said = collections.defaultdict(list)
    for one in lines(lanes_file):
        said[one["edge"], one["lane"]].append(one)
    missing, unproved = False, not said
    for topic, path in (argument.split("=", 1) for argument in topics):
        present, safe_of, repeats = collections.defaultdict(set), collections.Counter(), collections.Counter()
        for click in lines(path):
            key = click["edge"], click["lane"], click["epoch"]
            repeats[key] += click["seq"] in present[key]
            present[key].add(click["seq"])
            safe_of[key] = max(safe_of[key], click["safe"])
        for edge, lane in sorted(set(said) | {key[:2] for key in present}):
            statements = said[edge, lane]
            stands = [(one["epoch"], one["topics"][topic]) for one in statements]
            ended = {end["epoch"]: end for one in statements for end in one["ended"]}
            epochs = {key[2] for key in present if key[:2] == (edge, lane)} | set(ended) | {one["epoch"] for one in statements}
            delivered = max((mark(stand["delivered"]) for _, stand in stands), default=(0, 0))
            safe = max((mark(stand["safe"]) for _, stand in stands), default=(0, 0))
            found = collections.defaultdict(list)
            for epoch in sorted(epochs):
                key = edge, lane, epoch
                there, end = present[key], ended.get(epoch)
                gone = {number for _, stand in stands for hole in stand["quarantined"] + stand.get("dead_lettered", [])
                        if hole["epoch"] == epoch for number in range(hole["from"], hole["to"])}
                own = max([safe_of[key]] + [mark(stand["safe"])[1] for _, stand in stands if mark(stand["safe"])[0] == epoch])
                ended_at = end["next_seq"].get(topic, 0) if end else 0

                def covered(by):
                    return 0 if by[0] < epoch else by[1] if by[0] == epoch else max(ended_at, own)

                d = covered(delivered)
                s = max(covered(safe), own, d)
                given = max([s, ended_at, max(there, default=-1) + 1] + [stand["next_seq"] for of, stand in stands if of == epoch])
                absent = set(range(given)) - there - gone
                rest = "lost_by_cut" if end and end["cut"] else "not_shipped" if end or epoch == max(epochs) else "unproved"
                for verdict, low, high in (("missing", 0, d), ("not_shipped", d, s), (rest, s, given)):
                    found[verdict] += [[epoch, *span] for span in spans(n for n in absent if low <= n < high)]
            whole = bool(statements) and not any(found.values())
            last = max(statements, key=lambda one: one["at_ms"], default=None)
            spoke = {one["epoch"] for one in statements} - {0, max(epochs)}
            whole = whole and spoke <= set(ended) and not any(end["cut"] for end in ended.values()) and last["kind"] in ("closing", "drained")
            missing, unproved = missing or bool(found["missing"]), unproved or not whole
            unrecorded = collections.Counter()
            for one in statements:
                unrecorded[one["epoch"]] = max(unrecorded[one["epoch"]], one.get("unrecorded", 0))
            own_keys = [key for key in present if key[:2] == (edge, lane)]
            print(json.dumps({
                "edge": edge, "lane": lane, "topic": topic, "numbers": sum(len(present[key]) for key in own_keys),
                "repeats": sum(repeats[key] for key in own_keys), "unrecorded": sum(unrecorded.values()), **{verdict: found[verdict] for verdict in sorted(found)}, "whole": whole}))
    return 1 if missing else 3 if unproved else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
