"""Reports by DuckDB over click files and exports of topics, with the queries beside this file. Needs duckdb.

    report.py --clicks 'waypost-data/clicks/*.jsonl'                      click files: an event a line
    report.py --clicks clicks.jsonl --clicks orphans.jsonl                exports of the topics (export_topic.py), in any mixture
    report.py --commissions commissions.jsonl --creator c_48213           a creator's statement, from an export

Prints a JSON object for each row.
"""
import argparse
import json
import pathlib

import duckdb

QUERIES = pathlib.Path(__file__).resolve().parent


def rows_of(database, name, **parameters):
    """The rows of a query as dictionaries."""
    found = database.execute((QUERIES / f"{name}.sql").read_text(encoding="utf-8"), parameters)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]


def clicks_by_day_and_source(paths):
    """An event a line, or an object of export_topic.py with the event as `value`."""
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE click_record AS SELECT coalesce((json->>'arrived_at_ms')::BIGINT, 0) AS arrived_at_ms,"
        " CASE WHEN json_exists(json, '$.value') THEN json->'value' ELSE json END AS value"
        " FROM read_json_objects($paths, format = 'newline_delimited')", {"paths": paths})
    database.execute((QUERIES / "clicks.sql").read_text(encoding="utf-8"))
    return rows_of(database, "clicks_by_day_and_source")


def creator_statement(path, creator):
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE commission_record AS SELECT json->>'key' AS key, (json->>'offset')::BIGINT AS \"offset\","
        " nullif(json->'value', 'null'::JSON) AS value"
        " FROM read_json_objects($paths, format = 'newline_delimited')", {"paths": [path]})
    database.execute((QUERIES / "commissions.sql").read_text(encoding="utf-8"))
    return rows_of(database, "creator_statement", creator=creator)


def main():
    parser = argparse.ArgumentParser(description="Reports by DuckDB over click files and exports of topics.")
    parser.add_argument("--clicks", action="append", help="clicks by day and source, of these files; * is allowed")
    parser.add_argument("--commissions", help="an export of the topic commissions, for --creator")
    parser.add_argument("--creator", help="the creator of the statement")
    options = parser.parse_args()
    if bool(options.commissions) != bool(options.creator) or not (options.clicks or options.creator):
        parser.error("give --clicks, or --commissions with --creator")
    rows = clicks_by_day_and_source(options.clicks) if options.clicks else creator_statement(options.commissions, options.creator)
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
