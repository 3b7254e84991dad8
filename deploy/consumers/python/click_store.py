"""What a consumer of the click topics keeps, in SQLite: one record a click, the lanes' last statements, and closed days.

Every batch is one transaction together with the positions in the topics, so a consumer that is killed goes on exactly where its
database is, and a record that comes twice changes nothing. No Kafka here: `close_day.py` reads the topics.
"""
import json
import sqlite3

from click_value import read_click_value

DAY_MS = 86_400_000
CLICK_TOPICS = ("clicks", "clicks.orphan")
LANES_TOPIC = "clicks.lanes"
#: A lane whose last statement is one of these takes no clicks, and holds no day back.
ENDED = ("closing", "drained")

TABLES = """
CREATE TABLE IF NOT EXISTS position (topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS click (click_id TEXT PRIMARY KEY, day INTEGER, rank TEXT, creator TEXT, source TEXT, countable INTEGER);
CREATE INDEX IF NOT EXISTS click_day ON click (day);
CREATE TABLE IF NOT EXISTS stub (click_id TEXT PRIMARY KEY, day INTEGER, reason TEXT);
CREATE TABLE IF NOT EXISTS lane (edge TEXT, topic TEXT, lane INTEGER, kind TEXT, at_ms INTEGER, complete_to_ms INTEGER,
  PRIMARY KEY (edge, topic, lane));
CREATE TABLE IF NOT EXISTS closed (day INTEGER PRIMARY KEY, report TEXT);
"""


class ClickStore:
    """The database of one consumer. Times are milliseconds since the epoch, a day is a number of days since then (UTC)."""

    def __init__(self, path):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.executescript(TABLES)

    def positions(self):
        """(topic, partition) → offset of the next record."""
        return {(topic, partition): next_ for topic, partition, next_ in self.database.execute("SELECT * FROM position")}

    def take(self, records):
        """Takes records (topic, partition, offset, value, arrived_at_ms) and their positions, all or none."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            for topic, partition, offset, value, arrived_at_ms in records:
                self.take_record(topic, value, arrived_at_ms)
                self.database.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", (topic, partition, offset + 1))
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def take_record(self, topic, value, arrived_at_ms):
        if value is None:
            return
        record = read_click_value(value)
        if topic == LANES_TOPIC:
            self.take_statement(record)
        elif record["type"] == "dead_lettered":
            day = record["clicked_at_ms"] // DAY_MS
            self.database.execute("INSERT OR IGNORE INTO stub VALUES (?, ?, ?)", (record["click_id"], day, record["reason"]))
        elif record["type"] == "click":
            self.take_click(record, arrived_at_ms)
        # A later version can have other types: ignored, as unknown fields are.

    def take_click(self, click, arrived_at_ms):
        """Of several records of one click the first to arrive stands; then the newest labels, no duplicate, the least number."""
        rank = [arrived_at_ms, -click.get("labels_version", 0), click.get("duplicate", False), click["edge"], click["lane"],
                click["epoch"], click["seq"]]
        before = self.database.execute("SELECT rank FROM click WHERE click_id = ?", (click["click_id"],)).fetchone()
        if before and json.loads(before[0]) <= rank:
            return
        self.database.execute("INSERT OR REPLACE INTO click VALUES (?, ?, ?, ?, ?, ?)", (
            click["click_id"], click["clicked_at_ms"] // DAY_MS, json.dumps(rank), click.get("creator_id", ""),
            click.get("source", "unknown"), click.get("countable", False)))

    def take_statement(self, statement):
        """The last statement of a lane counts. All of a lane have one key, so they lie in one partition, in their order."""
        self.database.execute("INSERT OR REPLACE INTO lane VALUES (?, ?, ?, ?, ?, ?)", (
            statement["edge"], statement["topic"], statement["lane"], statement["kind"], statement["at_ms"],
            statement.get("complete_to_ms")))

    def watermark_ms(self, edges):
        """Every click that these edges answered before is on its topic, once all that is on the topics now is read.

        None if an edge made no statement, or one of its lanes does not know yet. Lanes that ended hold nothing back.
        """
        lanes = self.database.execute("SELECT edge, kind, at_ms, complete_to_ms FROM lane").fetchall()
        if set(edges) - {edge for edge, *_ in lanes}:
            return None
        open_lanes = [complete for edge, kind, _, complete in lanes if edge in edges and kind not in ENDED]
        if not open_lanes:
            return max(at for edge, _, at, _ in lanes if edge in edges)
        return None if None in open_lanes else min(open_lanes)

    def close_day(self, day):
        """The report of a day, kept for ever: a day that is closed does not change."""
        before = self.database.execute("SELECT report FROM closed WHERE day = ?", (day,)).fetchone()
        if before:
            return json.loads(before[0])
        counts = self.database.execute(
            "SELECT creator, source, count(*), sum(countable) FROM click WHERE day = ? GROUP BY creator, source ORDER BY 1, 2", (day,))
        rows = [dict(zip(("creator_id", "source", "clicks", "countable"), row)) for row in counts]
        stubs, = self.database.execute(
            "SELECT count(*) FROM stub WHERE day = ? AND click_id NOT IN (SELECT click_id FROM click)", (day,)).fetchone()
        report = {"day": day, "clicks": sum(row["clicks"] for row in rows), "dead_lettered": stubs, "rows": rows}
        self.database.execute("INSERT INTO closed VALUES (?, ?)", (day, json.dumps(report)))
        return report

    def clicks_after_close(self, day):
        """Clicks of a closed day that came after it was closed. They are there if an edge's clock went back."""
        report, = self.database.execute("SELECT report FROM closed WHERE day = ?", (day,)).fetchone()
        now, = self.database.execute("SELECT count(*) FROM click WHERE day = ?", (day,)).fetchone()
        return now - json.loads(report)["clicks"]
