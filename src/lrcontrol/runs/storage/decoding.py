"""Rows made records. Runs of one method share it: to read and check a method takes most of the time of a record."""

import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from lrcontrol.errors import StoreDamaged
from lrcontrol.runs.method import Method
from lrcontrol.runs.record import Record, unpack_columns
from lrcontrol.runs.spec import RunSpec
from lrcontrol.runs.storage.layouts import Row
from lrcontrol.runs.storage.telling import REMEDY, cannot_be_read

__all__ = ["UNREADABLE", "decoded", "method_of", "with_columns"]

UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, zlib.error)
"""What may be raised where bytes are read that are whole, but not of a form that is known."""


def _read_as(kind: type[msgspec.Struct], **other: Any) -> Any:
    """A struct like `kind`, with some of its fields of other types, and no checks beyond those of types."""
    fields: list[Any] = []
    for each in msgspec.structs.fields(kind):
        defaults: dict[str, Any] = {"default": each.default, "default_factory": each.default_factory}
        fields.append((each.name, other.get(each.name, each.type), msgspec.field(**defaults)))
    return msgspec.defstruct(kind.__name__, fields, frozen=True, forbid_unknown_fields=True, kw_only=True)


_DECODER = msgspec.json.Decoder(_read_as(Record, spec=_read_as(RunSpec, method=msgspec.Raw)))


def decoded(path: Path, row: Row) -> Record:
    """The record of a verified row, without columns.

    Raises:
        StoreDamaged: it is of a form that this version cannot read; names the store at `path`.
    """
    _, run_id, summary = row
    try:
        found = _DECODER.decode(summary)
        asked = {name: getattr(found.spec, name) for name in RunSpec.__struct_fields__}
        spec = RunSpec(**{**asked, "method": method_of(bytes(found.spec.method))})
        return Record(**{name: getattr(found, name) for name in Record.__struct_fields__ if name != "spec"}, spec=spec)
    except UNREADABLE as error:
        raise cannot_be_read(path, run_id, error) from None


@lru_cache(maxsize=4096)
def method_of(content: bytes) -> Method:
    """The method that a JSON text is."""
    return msgspec.json.decode(content, type=Method)


def with_columns(path: Path, row: Row, record: Record, block: bytes) -> Record:
    """A record with the columns of a verified block; here it is also made sure that the row is of its run."""
    run_id = row[1]
    if record.id != run_id:
        raise StoreDamaged(f"run '{run_id}' in the store {path} holds run '{record.id}'; {REMEDY}")
    try:
        return msgspec.structs.replace(record, columns=unpack_columns(block))
    except UNREADABLE as error:
        raise cannot_be_read(path, run_id, error) from None
