"""Databases made to harm whoever opens them as a store; none of what they hold may run, and none may take long."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from faults.samples import record
from lrcontrol.runs.storage.layouts import LAYOUTS, NEWEST
from lrcontrol.runs.storage.opening import APPLICATION_ID
from lrcontrol.runs.store import Store

SLOW = "WITH RECURSIVE far(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM far) SELECT max(n) FROM far"
TABLES = LAYOUTS[NEWEST].tables


def _kept(path: Path, *statements: str) -> None:
    """A good store of three records, and then these statements."""
    with Store(path) as store:
        for number in range(3):
            store.add(record(number))
    with sqlite3.connect(path) as connection:
        for statement in ("PRAGMA synchronous = OFF", *statements):
            connection.execute(statement)
    connection.close()


def _schema(path: Path, *changes: str) -> None:
    """A good store whose schema was written over, as no statement could make it."""
    _kept(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for change in changes:
            connection.execute(change)
    connection.close()


def _made(path: Path, *statements: str) -> None:
    """A database that says it is a store, of tables of its own."""
    with sqlite3.connect(path) as connection:
        for statement in (
            *statements,
            f"PRAGMA application_id = {APPLICATION_ID}",
            f"PRAGMA user_version = {NEWEST}",
        ):
            connection.execute(statement)
    connection.close()


def _trigger(when: str) -> Callable[[Path], None]:
    return lambda path: _kept(
        path,
        "CREATE TABLE ran (what TEXT)",
        f"CREATE TRIGGER harm {when} BEGIN INSERT INTO ran VALUES ('a trigger ran'); END",
    )


def _own_trigger(path: Path) -> None:
    _trigger("AFTER INSERT ON runs")(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        change = "SET name = 'sqlite_harm', sql = replace(sql, 'harm', 'sqlite_harm')"
        connection.execute(f"UPDATE sqlite_schema {change} WHERE type = 'trigger'")
    connection.close()


def _many_tables(path: Path) -> None:
    _kept(path, *(f"CREATE TABLE t{number} (a)" for number in range(1000)))


def _deep_view(path: Path) -> None:
    views = [
        f"CREATE VIEW v{n} AS SELECT * FROM v{n - 1} a, v{n - 1} b" if n else "CREATE VIEW v0 AS SELECT 1"
        for n in range(20)
    ]
    _kept(path, *views)


def _page_in_circles(path: Path) -> None:
    """Inner pages of the table that lead to one another without end."""
    with Store(path) as store:
        store.add_all([record(number) for number in range(60)])
    blob = bytearray(path.read_bytes())
    pages = range(1, len(blob) // 4096)
    inner = next(page for page in pages if blob[page * 4096] == 5)
    for place in range(12, 40, 2):
        blob[inner * 4096 + place : inner * 4096 + place + 2] = (4000).to_bytes(2, "big")
    blob[inner * 4096 + 4000 : inner * 4096 + 4004] = (inner + 1).to_bytes(4, "big")
    blob[inner * 4096 + 8 : inner * 4096 + 12] = (inner + 1).to_bytes(4, "big")
    path.write_bytes(blob)


def _huge_numbers(path: Path) -> None:
    _kept(
        path,
        "UPDATE sqlite_sequence SET seq = 9223372036854775806",
        "UPDATE runs SET number = 9223372036854775806 WHERE number = 3",
    )


HOSTILE: dict[str, Callable[[Path], None]] = {
    "trigger after insert": _trigger("AFTER INSERT ON runs"),
    "trigger before insert": _trigger("BEFORE INSERT ON runs"),
    "trigger after update": _trigger("AFTER UPDATE ON runs"),
    "trigger on columns": _trigger("AFTER INSERT ON columns"),
    "trigger that looks like one of SQLite's": _own_trigger,
    "view in place of the runs": lambda path: _made(
        path, f"CREATE VIEW runs AS SELECT 1 AS number, 'x' AS id, ({SLOW}) AS summary, x'00' AS checksum"
    ),
    "view without end": lambda path: _kept(path, f"CREATE VIEW far AS {SLOW}"),
    "view in place of the count": lambda path: _schema(
        path,
        f"UPDATE sqlite_schema SET type = 'view', sql = 'CREATE VIEW sqlite_sequence AS {SLOW}' "
        "WHERE name = 'sqlite_sequence'",
    ),
    "views that double twenty times": _deep_view,
    "check that runs a function": lambda path: _made(
        path, TABLES["runs"].replace("checksum BLOB NOT NULL", "checksum BLOB CHECK (load_extension('/tmp/evil'))")
    ),
    "default that runs a function": lambda path: _made(
        path, TABLES["runs"].replace("checksum BLOB NOT NULL", "checksum BLOB DEFAULT (hex(zeroblob(400000000)))")
    ),
    "column that is calculated": lambda path: _made(
        path,
        "CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT, columns BLOB, checksum BLOB, "
        "summary AS (hex(zeroblob(400000000))))",
    ),
    "index on an expression": lambda path: _kept(path, "CREATE INDEX harm ON runs (hex(zeroblob(number * 1000)))"),
    "table of another program": lambda path: _kept(path, "CREATE VIRTUAL TABLE words USING fts5(text)"),
    "a thousand tables": _many_tables,
    "statement that is no SQL": lambda path: _schema(
        path, "UPDATE sqlite_schema SET sql = 'DROP TABLE runs' WHERE name = 'runs'"
    ),
    "schema of ten million characters": lambda path: _schema(
        path, "UPDATE sqlite_schema SET sql = sql || '/*' || hex(zeroblob(5000000)) || '*/' WHERE name = 'runs'"
    ),
    "table whose pages are those of another": lambda path: _schema(
        path, "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'columns')"
    ),
    "pages in circles": _page_in_circles,
    "numbers beyond all bounds": _huge_numbers,
    "summary of fifty million zeros": lambda path: _kept(
        path, "UPDATE runs SET summary = zeroblob(50000000) WHERE number = 2"
    ),
}
"""Ways to make such a file, by name."""


def ran(path: Path) -> int:
    """How many triggers of a file have run."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM ran").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()
