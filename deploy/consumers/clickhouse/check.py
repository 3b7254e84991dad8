"""Checks clicks.sql on a real ClickHouse inside this process, without a server. Needs chdb.

Every statement runs. The Kafka engine's table is created from its own statement, and a setting with a typing error must be refused;
a table of the same columns then takes its place, because the library reads no topics. Rows go in as the engine would give them, and
the views give what they must: prints the clicks by day and source.

    check.py RECORDS         a file of export_topic.py
"""
import json
import pathlib
import re
import sys

from chdb import session

STATEMENTS = pathlib.Path(__file__).resolve().parent / "clicks.sql"
#: What the Kafka engine gives beside the value.
VIRTUAL = "value String, `_headers.name` Array(String), `_headers.value` Array(String), _timestamp_ms Nullable(DateTime64(3))"


def run_kafka_statement(clickhouse, statement):
    """Creates the table; the library then says that nothing can be read, but the table is there."""
    try:
        clickhouse.query(statement)
    except Exception as error:
        if "Shutdown was called" not in str(error):
            raise
    engine = clickhouse.query("SELECT engine FROM system.tables WHERE name = 'click_queue'", "CSV")
    if str(engine).strip() != '"Kafka"':
        sys.exit(f"check.py: click_queue is no Kafka table: {engine}")
    clickhouse.query("DROP TABLE click_queue")


def check_typing_error_is_refused(clickhouse, statement):
    try:
        clickhouse.query(statement.replace("kafka_topic_list", "kafka_topics_list"))
    except Exception as error:
        if "UNKNOWN_SETTING" in str(error):
            return
        raise
    sys.exit("check.py: a setting with a typing error is not refused, so this check proves nothing")


def main(records):
    clickhouse = session.Session()
    clickhouse.query("CREATE DATABASE waypost ENGINE = Atomic")
    clickhouse.query("USE waypost")
    text = re.sub(r"(?m)^--.*$", "", STATEMENTS.read_text(encoding="utf-8"))
    for statement in filter(None, (one.strip() for one in text.split(";"))):
        if "ENGINE = Kafka" in statement:
            check_typing_error_is_refused(clickhouse, statement)
            run_kafka_statement(clickhouse, statement)
            statement = f"CREATE TABLE click_queue ({VIRTUAL}) ENGINE = Null"
        clickhouse.query(statement)
    rows = []
    for line in pathlib.Path(records).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        rows.append(json.dumps({"value": json.dumps(record["value"]), "_headers.name": ["wp_shipped_at_ms"],
                                "_headers.value": [str(record["arrived_at_ms"])], "_timestamp_ms": record["arrived_at_ms"]}))
    clickhouse.query("INSERT INTO click_queue FORMAT JSONEachRow\n" + "\n".join(rows))
    print(clickhouse.query("SELECT day, source, clicks, countable FROM clicks_by_day_and_source", "JSONEachRow"))


if __name__ == "__main__":
    main(*sys.argv[1:])
