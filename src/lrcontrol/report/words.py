"""Text that is safe to draw, and names that differ."""

import re
from collections.abc import Sequence

__all__ = ["begun", "clean", "distinct", "undigested", "wrapped"]

MOST_LINES = 4
_DIGEST = re.compile(r"(?<=\bvalues) [0-9a-f]{6}(?=[,)])|(?<=over\()(\d+ levels, \S+ to \S+), [0-9a-f]{6}(?=\))")


def begun(text: str) -> str:
    """A text with a capital, unless its first word is a name such as val_loss.

    Example:
        >>> begun("the loss rises"), begun("val_loss")
        ('The loss rises', 'val_loss')
    """
    word = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if word.isalpha() else text


def clean(text: object) -> str:
    """`text` without what XML and HTML cannot hold: control characters and lone surrogates become U+FFFD."""
    return "".join(" " if char in "\t\n\r" else "\ufffd" if _forbidden(ord(char)) else char for char in str(text))


def distinct(labels: Sequence[object]) -> list[str]:
    """Cleaned labels, numbered where two would be equal: lines of equal name would be drawn as one."""
    seen: dict[str, int] = {}
    result: list[str] = []
    for label in labels:
        name = clean(label).strip() or "unnamed"
        seen[name] = seen.get(name, 0) + 1
        candidate = name if seen[name] == 1 else f"{name} ({seen[name]})"
        while candidate in result:
            seen[name] += 1
            candidate = f"{name} ({seen[name]})"
        result.append(candidate)
    return result


def undigested(label: str) -> str:
    """The label of a method without the digests that tell it from others of its kind, where it stands alone.

    Example:
        >>> undigested("adamw:table(100 values e856c4, end=0.1)"), undigested("sgd:over(3 levels, 1 to 0.03, 8245f3)")
        ('adamw:table(100 values, end=0.1)', 'sgd:over(3 levels, 1 to 0.03)')
    """
    return _DIGEST.sub(lambda found: found.group(1) or "", label)


def wrapped(text: str, width: int = 110) -> list[str]:
    """A schedule's text in lines of at most `width` characters, at most four, the last then ending in "…".

    Example:
        >>> wrapped("warmup(0.05)+cosine(end=0.1)", width=20)
        ['warmup(0.05)+', 'cosine(end=0.1)']
    """
    lines: list[str] = []
    while len(text) > width and len(lines) < MOST_LINES - 1:
        cut = 1 + max(text.rfind(mark, 0, width) for mark in "+*, ") or width
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text if len(text) <= width else text[: width - 1] + "…"]


def _forbidden(code: int) -> bool:
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
