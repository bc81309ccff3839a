"""Numbers as logs spell them."""

from typing import Any

__all__ = ["of_text", "of_value"]

NOTHING = {b"", b"null", b"none", b"na", b"n/a", b"<na>"}
SPELLED = {  # as printf of Windows has them
    b"1.#inf": "inf",
    b"-1.#inf": "-inf",
    b"1.#qnan": "nan",
    b"-1.#ind": "nan",
    b"-nan(ind)": "nan",
}


def of_text(cell: bytes, decimal_comma: bool = False) -> float | None:
    """The number that a cell holds; None where it holds none.

    Raises:
        ValueError: the cell is text that is no number.
    Example:
        >>> of_text(b" 1.5 "), of_text(b"2,5", decimal_comma=True), of_text(b"-Infinity"), of_text(b"null")
        (1.5, 2.5, -inf, None)
    """
    cell = cell.strip()
    if decimal_comma and cell.count(b",") == 1 and b"." not in cell:
        cell = cell.replace(b",", b".")
    try:
        value = float(cell)
    except ValueError:
        small = cell.lower()
        if small in NOTHING:
            return None
        return float(SPELLED.get(small, "no number"))
    if b"_" in cell:  # Python's own way of writing 1000
        raise ValueError("1_000")
    return value


def of_value(value: Any) -> float | None:
    """The number that a value of JSON is; None where it is none, such as a histogram in the place of a number.

    Raises:
        ValueError: it is text that is no number, a truth value, or a number without end.
    """
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, str):
        return of_text(value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        raise ValueError("a truth value")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number without end") from None
