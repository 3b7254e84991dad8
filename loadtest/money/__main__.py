"""Money is conserved: buyers, edges, Kafka, Flink and random kills; in the end every row is compared three times. See money.sh.

1. Kafka (three nodes), three edges, Flink (two task managers); buyers tap over HTTP and order with what landed.
2. Edges, nodes and task managers are killed at random times and started again, while the clock of the states moves on.
3. Buyers stop, everything runs again and is drained. `waypost clicks audit` proves the clicks.
4. The topic `commissions` is compared with `waypost attribute` over the topics, and with the model of `model.py`.
"""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import time

import confluent_kafka

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402
from harness import Failure, say  # noqa: E402
from money import buyers, compare, machines, model, shop, world  # noqa: E402

HOUR_MS = 3_600_000
#: Every order's last change lies before: 14 days to payment, 9 to delivery, 26 to the last return, and some to spare.
DAYS_AHEAD = 60
#: How long Flink may take to write what is left, seconds.
DRAIN_SECONDS = 1800


class Run:
    """Everything that runs, and what was sent."""

    def __init__(self, options, binary, directory):
        self.options, self.binary = options, binary
        start_ms = int(time.time()) * 1000
        self.world = world.World(start_ms)
        self.first_tick = start_ms // HOUR_MS * HOUR_MS
        self.end_ms = self.first_tick + DAYS_AHEAD * world.DAY_MS
        self.next_tick = self.first_tick
        say("Kafka: three nodes")
        self.kafka = machines.Kafka(directory / "kafka")
        self.setup_topics()
        self.flink = machines.Flink(directory / "flink", self.kafka.address)
        self.flink.make_topics()
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": self.kafka.address, "enable.idempotence": True, "message.timeout.ms": 600_000, "log_level": 2})
        self.gave_up = 0
        for link in self.world.links:
            self.send("links", f"{link.domain} {link.code}", json.dumps(link.record))
        for entry in self.world.entries:
            self.send("product_sets", shop.set_key(entry), json.dumps(entry))
        say("three edges")
        self.edges = machines.Edges(binary, directory / "edges", self.world, self.kafka.address)
        say("Flink: two task managers and three jobs")
        self.flink.start()

    def setup_topics(self):
        words = [self.binary, "kafka", "setup", "--apply", "--partitions", "3", "--kafka", self.kafka.address]
        made = subprocess.run(words, capture_output=True, text=True)
        if made.returncode:
            raise Failure(f"waypost kafka setup: {made.stdout}{made.stderr}")

    def send(self, topic, key, value):
        self.producer.produce(topic, value, key, on_delivery=self.check_delivery)
        self.producer.poll(0)

    @staticmethod
    def check_delivery(error, _message):
        if error:
            raise Failure(f"a record of the shop was not delivered: {error}")

    def tick_until(self, at_ms):
        while self.next_tick <= at_ms:
            self.send("commission_ticks", str(self.next_tick), json.dumps({"as_of_ms": self.next_tick}))
            self.next_tick += HOUR_MS

    def play(self):
        """Buyers and kills, for the minutes asked for. Returns the kills."""
        seconds = 60 * self.options.minutes
        selling = shop.Shop(self.world, self.binary, self.edges.all[0], self.send)
        crowd = buyers.Crowd(self.world, self.edges.all, selling, self.options.buyers, self.options.pause)
        killers = [machines.Killer(self.edges.all, (4, 20), (0, 6), 1, at_once=(1, 1, 1, 2, 3),
                                    wait=lambda edge: edge.ready(machines.START_SECONDS)),
                   machines.Killer(self.kafka.nodes, (20, 60), (1, 15), 2, at_once=(1, 1, 1, 2)),
                   machines.Killer(self.flink.task_managers, (30, 90), (0, 10), 3, at_once=(1, 1, 1, 2))]
        began, next_change = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            crowd.check()
            self.gave_up += machines.restart_ended([*self.kafka.nodes, *self.flink.task_managers])
            selling.send_due()
            if passed > next_change:
                selling.change_sets()
                next_change = passed + 5
            self.tick_until(self.first_tick + int((self.end_ms - self.first_tick) * passed / seconds * 0.8))
            time.sleep(0.1)
        say("buyers stop, nothing is killed any more")
        for killer in killers:
            killer.stop()
        self.gave_up += machines.restart_ended([*self.kafka.nodes, *self.flink.task_managers])
        self.kafka.wait()
        for edge in self.edges.all:
            edge.ready(machines.START_SECONDS)
        crowd.stop()
        selling.send_due(everything=True)
        self.tick_until(self.end_ms)
        if self.producer.flush(300):
            raise Failure("the shop's records were not all delivered in 300 s")
        return crowd, selling, sorted(kill for killer in killers for kill in killer.log)

    def audit(self):
        self.edges.stop()
        words = [self.binary, "clicks", "audit", "--kafka", self.kafka.address, "--edges", "edge-1,edge-2,edge-3"]
        audit = subprocess.run(words, capture_output=True, text=True)
        if audit.returncode:
            raise Failure(f"waypost clicks audit exits {audit.returncode}:\n{audit.stdout}{audit.stderr}")
        return audit.stdout.splitlines()[-1]


def judge(run, crowd, selling, directory):
    """Compares the clicks and the rows. Returns the figures."""
    records = compare.read_topics(run.kafka.address, ["clicks", "clicks.orphan", "orders"])
    on_topic = collections.Counter(json.loads(value)["click_id"] for value in records["clicks"] + records["clicks.orphan"])
    claimed = {tap.claims["click_id"] for tap in crowd.taps if tap.claims}
    if missing := claimed - on_topic.keys():
        raise Failure(f"{len(missing)} answered clicks are on no topic: {sorted(missing)[:5]}")
    say(f"{len(claimed)} answered clicks with a token are on the topics; waypost attribute")
    attributed = compare.attribute(run, selling, records["orders"], directory)
    modelled = {(row["order_id"], row["line_id"]): row
                for sale in selling.sales for row in model.rows_of(sale, run.world.entries, run.end_ms)}
    compare.compare("waypost attribute", attributed, "the model", modelled)
    say(f"{len(modelled)} rows are the same by waypost attribute and by the model; waiting for Flink")
    compare.wait_for_commissions(run, modelled, DRAIN_SECONDS)
    run.flink.stop()
    compare.check_side_topics(run.kafka.address, selling)
    return {"taps_answered": len(crowd.taps), "taps_without_answer": crowd.unanswered, "clicks_on_topics": len(on_topic),
            "repeats_on_topics": sum(on_topic.values()) - len(on_topic), "orders": len(selling.sales), "rows": len(modelled),
            "order_versions": len(records["orders"]), "late_orders": len(selling.late), "refused_orders": len(selling.refused),
            "reasons": dict(collections.Counter(row["reason"] for row in modelled.values())),
            "states": dict(collections.Counter(row["state"] for row in modelled.values())),
            "clawbacks": sum(len(row.get("clawbacks", ())) for row in modelled.values()),
            "owed_minor": {currency: sum(owed(row) for row in modelled.values() if row["currency"] == currency)
                           for currency in shop.CURRENCIES}}


def owed(row):
    """What is confirmed or payable, clawbacks off."""
    if row["state"] not in ("confirmed", "payable"):
        return 0
    return row["commission_minor"] + sum(back["amount_minor"] for back in row.get("clawbacks", ()))


def main():
    parser = argparse.ArgumentParser(description="Buyers, kills, and the commission of every order line compared three times.")
    parser.add_argument("--minutes", type=float, default=10, help="of buyers and kills (10)")
    parser.add_argument("--buyers", type=int, default=3, help="buyers at one time (3)")
    parser.add_argument("--pause", type=float, default=2, help="most seconds between two buyers of a thread (2)")
    parser.add_argument("--name", help="keep the run under loadtest/results/NAME")
    options = parser.parse_args()
    binary, directory = os.environ["WAYPOST_BIN"], harness.scratch_dir()
    record = {"setup": harness.setup(binary), "minutes": options.minutes}
    run = Run(options, binary, directory)
    began = time.time()
    crowd, selling, kills = run.play()
    say("draining; the audit")
    record["audit"] = run.audit()
    record |= judge(run, crowd, selling, directory)
    record["restores"], record["checkpoints"] = run.before_stop
    record["gave_up"] = run.gave_up
    record["kills"] = [{"at_s": round(at - began, 1), "machine": name, "down_s": round(away, 1)} for at, name, away in kills]
    harness.keep(options.name, render(record), record)


def render(record):
    kills = collections.Counter(kill["machine"].split("-")[0] for kill in record["kills"])
    lines = [f"{record['minutes']:g} min on {record['setup']['cores']} cores; three edges, three nodes of Kafka, two task managers",
             "killed with SIGKILL and started again: " + ", ".join(f"{name} {count}" for name, count in sorted(kills.items()))
             + f"; nodes and task managers that gave up by themselves {record['gave_up']}; jobs restored {record['restores']} times",
             f"taps answered {record['taps_answered']}, without an answer {record['taps_without_answer']}; clicks on the topics "
             f"{record['clicks_on_topics']}, repeats {record['repeats_on_topics']}; audit: {record['audit']}",
             f"orders {record['orders']} in {record['order_versions']} records; late {record['late_orders']} and refused "
             f"{record['refused_orders']}, each once on its topic",
             f"rows {record['rows']}: the topic commissions, waypost attribute and the model are equal",
             "reasons: " + ", ".join(f"{reason} {count}" for reason, count in sorted(record["reasons"].items())),
             "states: " + ", ".join(f"{state} {count}" for state, count in sorted(record["states"].items()))
             + f"; clawbacks {record['clawbacks']}",
             "owed, minor units: " + ", ".join(f"{amount} {currency}" for currency, amount in record["owed_minor"].items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    harness.run(main)
