"""Records of a store, each decoded when it is first looked at: a store of many is listed at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from lrcontrol.runs.record import Record
from lrcontrol.runs.storage.layouts import Row

__all__ = ["Listing", "Records"]


class Records:
    """Records without columns by their rows; each row is decoded once.

    Args:
        decode: makes the record of a verified row.
    """

    def __init__(self, decode: Callable[[Row], Record]) -> None:
        self._decode = decode
        self._known: dict[int, Record] = {}

    def of(self, row: Row) -> Record:
        """The record of a row."""
        known = self._known.get(row[0])
        if known is None:
            known = self._known[row[0]] = self._decode(row)
        return known


class Listing(Sequence[Record]):
    """The records of a store at a moment, in the order they were added.

    Args:
        rows: one for each run.
        records: what decodes them.
    """

    def __init__(self, rows: Sequence[Row], records: Records) -> None:
        self.rows = rows
        self._records = records

    @property
    def ids(self) -> list[str]:
        """The ids of the runs, for which nothing needs to be decoded."""
        return [run_id for _, run_id, _ in self.rows]

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> "Listing": ...
    def __getitem__(self, place: int | slice) -> "Record | Listing":
        if isinstance(place, slice):
            return Listing(self.rows[place], self._records)
        return self._records.of(self.rows[place])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Record]:
        return map(self._records.of, self.rows)

    def __repr__(self) -> str:
        return f"<Listing of {len(self)} records>"
