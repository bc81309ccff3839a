"""Ways in which a file comes to harm, and what a store made of it."""

import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from faults.samples import content
from lrcontrol.errors import StoreError
from lrcontrol.runs.store import Store

PAGE = 4096
Content = tuple[bytes, list[tuple[str, bytes]]]


def flip(path: Path, rng: random.Random) -> None:
    """One to 20 bytes become others."""
    blob = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 20))):
        blob[rng.randrange(len(blob))] ^= rng.randrange(1, 256)
    path.write_bytes(blob)


def flip_in_head(path: Path, rng: random.Random) -> None:
    """One byte of what SQLite keeps about a page becomes another: there a change has the largest effect."""
    blob = bytearray(path.read_bytes())
    page = rng.randrange(len(blob) // PAGE)
    blob[page * PAGE + rng.randrange(140 if page == 0 else 40)] ^= rng.randrange(1, 256)
    path.write_bytes(blob)


def truncate(path: Path, rng: random.Random) -> None:
    """The end is gone, half of the time at the edge of a page; something is left."""
    size = path.stat().st_size
    keep = rng.randrange(1, size) if rng.random() < 0.5 else PAGE * rng.randrange(1, size // PAGE)
    with path.open("r+b") as file:
        file.truncate(keep)


def zero(path: Path, rng: random.Random) -> None:
    """A page, or a sector of 512 bytes, is all zeros."""
    length = rng.choice((512, PAGE))
    with path.open("r+b") as file:
        file.seek(length * rng.randrange(path.stat().st_size // length))
        file.write(bytes(length))


def swap_pages(path: Path, rng: random.Random) -> None:
    """Two pages have changed places, or one is where the other was."""
    blob = bytearray(path.read_bytes())
    first, second = (slice(at * PAGE, (at + 1) * PAGE) for at in rng.sample(range(len(blob) // PAGE), 2))
    blob[first], blob[second] = blob[second], rng.choice((blob[first], blob[second]))
    path.write_bytes(blob)


def exchange(path: Path, rng: random.Random) -> None:
    """Two rows have exchanged their contents, their ids or their places, by way of SQL."""
    table, parts = rng.choice(
        (
            ("runs", ["summary"]),
            ("runs", ["id"]),
            ("runs", ["id", "summary", "checksum"]),
            ("columns", ["block"]),
            ("columns", ["block", "checksum"]),
        )
    )
    with sqlite3.connect(path) as connection:
        one, two = (number for (number,) in rng.sample(connection.execute("SELECT number FROM runs").fetchall(), 2))
        for part in parts:
            values = dict(connection.execute(f"SELECT number, {part} FROM {table} WHERE number IN (?, ?)", (one, two)))
            connection.execute(f"UPDATE {table} SET {part} = ? WHERE number = ?", (values[two], one))
            connection.execute(f"UPDATE {table} SET {part} = ? WHERE number = ?", (values[one], two))
    connection.close()


def rewrite(path: Path, rng: random.Random) -> None:
    """A checksum, number or count is another, or a row is gone or there twice, by way of SQL."""
    table, others = rng.choice((("runs", "id, summary, checksum"), ("columns", "block, checksum")))
    with sqlite3.connect(path) as connection:
        (last,) = connection.execute("SELECT max(number) FROM runs").fetchone()
        number = rng.randint(1, last)
        change = rng.choice(
            (
                f"UPDATE {table} SET checksum = randomblob(32) WHERE number = :number",
                f"UPDATE {table} SET checksum = substr(checksum, 1, 31) WHERE number = :number",
                f"UPDATE {table} SET number = :last + 1 WHERE number = :number",
                f"UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = '{table}'",
                f"DELETE FROM sqlite_sequence WHERE name = '{table}'",
                "UPDATE sqlite_sequence SET seq = seq + 1",
                f"DELETE FROM {table} WHERE number = :number",
                f"DELETE FROM {table} WHERE number = :last",
                f"INSERT INTO {table} SELECT :last + 1, {others} FROM {table} WHERE number = :number",
            )
        )
        connection.execute(change, {"number": number, "last": last})
    connection.close()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    flip,
    flip_in_head,
    truncate,
    zero,
    swap_pages,
    exchange,
    rewrite,
)


def verdict(path: Path, truth: Mapping[str, Content]) -> str:
    """`right` where a damaged store still tells all of `truth` in its order, `refused` where it says that it cannot.

    Anything else is told in words: another answer, an error of another kind, one of many lines.
    """
    try:
        with Store(path) as store:
            listed = [record.id for record in store.records()]
            told = {run_id: content(store.record(run_id)) for run_id in listed}
    except StoreError as error:
        return "refused" if str(error) and "\n" not in str(error) else f"not one sentence: {error!r}"
    except Exception as error:
        return f"another error: {error!r}"
    return "right" if listed == list(truth) and told == truth else "wrong data"


def damaged_verdicts(whole: bytes, folder: Path, count: int, seed: int) -> Sequence[tuple[str, str]]:
    """The kind of damage and the verdict for `count` damaged copies of a store, every kind in turn."""
    path = folder / "damaged.db"
    path.write_bytes(whole)
    with Store(path) as store:
        truth = {record.id: content(store.record(record.id)) for record in store.records()}
    found = []
    for index in range(count):
        damage = DAMAGES[index % len(DAMAGES)]
        path.write_bytes(whole)
        damage(path, random.Random(f"{seed} {index}"))
        found.append((f"{damage.__name__}, seed {seed}, number {index}", verdict(path, truth)))
        for journal in folder.glob("damaged.db-*"):
            journal.unlink()
    return found
