"""Texts as whole tensors of numbers: characters, sentences with a label, sentences with tags, masked words, pairs.

Words get their numbers by how often they occur in train; 0 pads, and targets are `IGNORED` where nothing counts.
"""

import functools
import itertools
import re
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch

from lrcontrol.training.tasks import data, formats
from lrcontrol.training.tasks.problem import Split
from lrcontrol.training.tasks.splits import Splits, split_rows
from lrcontrol.training.tasks.vocabulary import END, IGNORED, MASK, PADDING, START, UNKNOWN, Ids, Vocabulary, Words

__all__ = [
    "TAGS",
    "apart",
    "characters",
    "lines",
    "masked",
    "pairs",
    "sentiment",
    "subjectivity",
    "tagged",
]

Examples = list[tuple[list[str], Any]]
"""Words, and what is to be told of them."""

GAP = 1000  # characters between two splits of one text, so that no sentence goes on from one into the other

KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
TAGS = ("O", *(f"{place}-{kind}" for kind in KINDS for place in "BI"))
"""The tags of WNUT17: outside an entity, then begin and inside of each kind."""


def apart(*parts: Sequence[Hashable]) -> list[list[int]]:
    """The rows of every part that neither a later part nor an earlier row of its own part holds.

    So a row of train that is also in test goes from train.

    Example:
        >>> apart(["a", "b", "c", "b"], ["c", "d"])
        [[0, 1], [0, 1]]
    """
    seen: set[Hashable] = set()
    kept: list[list[int]] = []
    for part in reversed(parts):
        rows = []
        for row, key in enumerate(part):
            if key not in seen:
                seen.add(key)
                rows.append(row)
        kept.append(rows)
    return kept[::-1]


def lines(name: str, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, gzipped or not; at line feeds alone, for some of the files hold other separators."""
    content = data.read(name)
    if name.endswith(".gz"):
        content = formats.gunzipped(name, content)
    return formats.text(name, content, encoding).removesuffix("\n").split("\n")


@functools.cache
def characters(length: int = 64) -> Splits:
    """Tiny Shakespeare by characters: windows of shape (n, length), targets the next characters.

    90, 5 and 5 % of the text by position, with a gap before validation and test; windows do not overlap.
    """
    name = "tinyshakespeare/input.txt"
    text = formats.text(name, data.read(name))
    edges = (0, round(0.9 * len(text)), round(0.95 * len(text)), len(text))
    parts = [text[first + (GAP if first else 0) : last] for first, last in itertools.pairwise(edges)]
    known = {character: number for number, character in enumerate(sorted(set(parts[0])))}

    def windows(part: str) -> Split:
        if len(part) <= length:
            raise ValueError(f"it holds {len(text)} characters, too few for windows of {length}")
        numbers = np.array([known[character] for character in part], dtype=np.int64)
        count = (len(numbers) - 1) // length
        return _split(
            numbers[: count * length].reshape(-1, length), numbers[1 : count * length + 1].reshape(-1, length)
        )

    return formats.told(name, lambda: (windows(parts[0]), windows(parts[1]), windows(parts[2])))


@functools.cache
def sentiment(length: int = 48) -> Splits:
    """SST-2, the Stanford sentiment treebank's sentences without the neutral ones: its own splits; 1 is positive."""
    return _classified([_labelled(f"sst/stsa.binary.{part}") for part in ("train", "dev", "test")], length)


@functools.cache
def subjectivity(length: int = 48) -> Splits:
    """SUBJ: subjective (0) and objective (1) sentences, 60, 20 and 20 %."""
    whole = _without_doubles([_labelled("subj/subj.all")])[0]
    labels = np.array([label for _, label in whole])
    return _classified([[whole[row] for row in part] for part in split_rows(len(whole), labels)], length)


@functools.cache
def tagged(length: int = 32) -> Splits:
    """WNUT17 with its own splits: inputs of shape (n, length, 4), the word and its shape, beginning and ending.

    Targets are numbers in `TAGS`. Longer sentences are cut into pieces.
    """
    names = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    parts = [_pieces(_sentences(f"wnut17/{name}"), length) for name in names]
    parts = _without_doubles(parts)
    views: list[Callable[[str], str]] = [str.lower, _shape, lambda word: word[:2], lambda word: word[-3:]]
    columns = []
    for view, least in zip(views, (2, 3, 5, 5), strict=True):
        seen = [[[view(word) for word in words] for words, _ in part] for part in parts]
        known = Vocabulary(seen[0], least=least)
        columns.append([known.rows(part, length) for part in seen])
    inputs = [np.stack(same, axis=-1) for same in zip(*columns, strict=True)]
    targets = []
    for part in parts:
        rows = np.full((len(part), length), IGNORED, dtype=np.int64)
        for row, (_, tags) in zip(rows, part, strict=True):
            row[: len(tags)] = tags
        targets.append(rows)
    return _distinct(inputs, targets)


@functools.cache
def masked(length: int = 32, hidden: int = 5, most: int = 2000, copies: int = 4) -> Splits:
    """WikiText-2 with hidden words: `valid.txt` is train; the articles of `test.txt` in turn validation and test.

    Windows of an article's words, of which `hidden` known ones are replaced by `MASK`; targets of shape (n, hidden)
    are those words, in order. What is hidden is fixed; train has every window `copies` times, differently hidden.
    """
    train, held = (_articles(f"wikitext2-valid-test/{name}.txt") for name in ("valid", "test"))
    known = Vocabulary([[word for word in words if word] for words in train], most=most, marks=3)
    inputs, targets = [], []
    for seed, (part, repeats) in enumerate(((train, copies), (held[0::2], 1), (held[1::2], 1))):
        pieces = [article[at : at + length] for article in part for at in range(0, len(article) - length + 1, length)]
        shown, told = _hidden(np.repeat(known.rows(pieces, length), repeats, axis=0), hidden, seed)
        inputs.append(shown)
        targets.append(told)
    return _distinct(inputs, targets)


@functools.cache
def pairs(length: int = 14, most: int = 2000) -> Splits:
    """Multi30k from English to German with its own splits, sentences of at most `length` words on both sides.

    Inputs of shape (n, 2 * length + 1): the English words, then `START` and the German words; targets of shape
    (n, length + 1): the German words and an end, ignored where the word is unknown.
    """
    parts = []
    for name in ("train", "val", "test_2016_flickr"):
        both = _sides(f"multi30k-en-de/{name}.en.gz", f"multi30k-en-de/{name}.de.gz")
        parts.append([pair for pair in both if all(0 < len(side) <= length for side in pair)])
    parts = _without_doubles(parts)
    english, german = (Vocabulary([pair[side] for pair in parts[0]], most=most, marks=4) for side in (0, 1))
    inputs, targets = [], []
    for part in parts:
        source = english.rows([pair[0] for pair in part], length)
        words = german.rows([pair[1] for pair in part], length + 1)
        before = np.concatenate([np.full((len(part), 1), START), words[:, :-1]], axis=1)
        after = words.copy()
        after[np.arange(len(part)), [len(pair[1]) for pair in part]] = END
        targets.append(np.where((after == PADDING) | (after == UNKNOWN), IGNORED, after))
        inputs.append(np.concatenate([source, before], axis=1))
    return _distinct(inputs, targets)


def _labelled(name: str) -> Examples:
    """Sentences, one a line behind a 0 or 1; latin-1, and split at line feeds alone: byte 0x85 is no end of a line."""

    def reader() -> Examples:
        result: Examples = []
        for number, line in enumerate(lines(name, "latin-1"), 1):
            label, _, words = line.partition(" ")
            if label not in ("0", "1") or not words.split():
                raise ValueError(f"line {number} is not 0 or 1 and then words")
            result.append((words.split(), int(label)))
        return result

    return formats.told(name, reader)


def _classified(parts: list[Examples], length: int) -> Splits:
    parts = _without_doubles(parts)
    known = Vocabulary((words for words, _ in parts[0]), least=2)
    inputs = [known.rows([words for words, _ in part], length) for part in parts]
    return _distinct(inputs, [np.array([label for _, label in part], dtype=np.int64) for part in parts])


def _sentences(name: str) -> Examples:
    """Words and numbers of tags: a line each, with a tab between, and a blank line after every sentence."""

    def reader() -> Examples:
        result: Examples = [([], [])]
        for number, line in enumerate(lines(name), 1):
            word, _, tag = line.strip("\r").partition("\t")
            if not word.strip() and not tag.strip():
                result.append(([], []))
            elif tag not in TAGS:
                raise ValueError(f"line {number} has the tag {tag!r}; known: {', '.join(TAGS)}")
            else:
                result[-1][0].append(word)
                result[-1][1].append(TAGS.index(tag))
        return [(words, tags) for words, tags in result if words]

    return formats.told(name, reader)


def _pieces(sentences: Examples, length: int) -> Examples:
    return [
        (words[at : at + length], tags[at : at + length])
        for words, tags in sentences
        for at in range(0, len(words), length)
    ]


def _shape(word: str) -> str:
    """Capitals, small letters and digits, each run as one sign: `McDonald's-7` is `AaAa'a-0`."""
    signs = re.sub(r"[^\W\d_]", lambda found: "A" if found[0].isupper() else "a", re.sub(r"\d", "0", word))
    return re.sub(r"(.)\1+", r"\1", signs)


def _articles(name: str) -> list[list[str]]:
    """The words of every article; its title stands between lone equals signs, its headings between doubled ones."""

    def reader() -> list[list[str]]:
        result: list[list[str]] = []
        for line in lines(name):
            if line.startswith(" = ") and not line.startswith(" = = "):
                result.append([])
            if result:
                result[-1].extend(line.split())
        if len(result) < 2:
            raise ValueError(f"it holds {len(result)} articles")
        return result

    return [["" if word == "<unk>" else word for word in article] for article in formats.told(name, reader)]


def _hidden(rows: Ids, count: int, seed: int) -> tuple[Ids, Ids]:
    """The rows with `count` of their known words hidden, and these words; without the rows that have fewer."""
    rows = rows[(rows != UNKNOWN).sum(axis=1) >= count]
    drawn = np.random.default_rng(seed).random(rows.shape)
    chosen = np.sort(np.argsort(np.where(rows == UNKNOWN, np.inf, drawn), axis=1)[:, :count], axis=1)
    shown = rows.copy()
    np.put_along_axis(shown, chosen, MASK, axis=1)
    return shown, np.take_along_axis(rows, chosen, axis=1)


def _words(line: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", line.lower())


def _sides(source: str, target: str) -> Examples:
    """The words of both languages, line by line."""
    english, german = lines(source), lines(target)
    return formats.told(target, lambda: [(_words(a), _words(b)) for a, b in zip(english, german, strict=True)])


def _without_doubles(parts: list[Examples]) -> list[Examples]:
    """Without the sentences that another part, or an earlier row, has; letters, digits and their order decide."""

    def key(words: Words) -> tuple[str, ...]:
        return tuple(word.lower() for word in words if any(map(str.isalnum, word))) or tuple(words)

    kept = apart(*([key(words) for words, _ in part] for part in parts))
    return [[part[row] for row in rows] for part, rows in zip(parts, kept, strict=True)]


def _distinct(inputs: list[Ids], targets: list[Ids]) -> Splits:
    """The splits without the rows that became equal as numbers."""
    kept = apart(*([row.tobytes() for row in part] for part in inputs))
    train, validation, test = (_split(x[rows], y[rows]) for x, y, rows in zip(inputs, targets, kept, strict=True))
    return train, validation, test


def _split(inputs: Ids, targets: Ids) -> Split:
    return Split(torch.from_numpy(np.ascontiguousarray(inputs)), torch.from_numpy(np.ascontiguousarray(targets)))
