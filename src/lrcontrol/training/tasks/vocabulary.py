"""Words as numbers."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["END", "IGNORED", "MASK", "PADDING", "START", "UNKNOWN", "Ids", "Vocabulary", "Words"]

Words = Sequence[str]
Ids = NDArray[np.int64]

PADDING, UNKNOWN, START, END = 0, 1, 2, 3
MASK = START  # nothing is both translated and masked
IGNORED = -100  # the target where nothing counts, as torch's cross-entropy has it


class Vocabulary:
    """Words by number, the most frequent first and equals by the alphabet; below them the marks, from `PADDING` up.

    Args:
        sentences: what it is fitted to: train.
        most: at most so many words.
        least: words that occur less often are unknown.
        marks: how many numbers are no words: 2 for padding and unknown, more for start, end or mask.
    Example:
        >>> known = Vocabulary([["a", "b", "a"]], least=2)
        >>> known.rows([["a", "c"]], 3).tolist(), len(known)
        ([[2, 1, 0]], 3)
    """

    def __init__(self, sentences: Iterable[Words], *, most: int = 10**9, least: int = 1, marks: int = 2) -> None:
        counts = collections.Counter(word for sentence in sentences for word in sentence)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [word for word in ranked if counts[word] >= least][:most]
        self.numbers = {word: marks + index for index, word in enumerate(kept)}
        self.marks = marks

    def __len__(self) -> int:
        return self.marks + len(self.numbers)

    def rows(self, sentences: Sequence[Words], length: int) -> Ids:
        """Numbers of shape (sentences, length), cut at the length and padded up to it."""
        result = np.full((len(sentences), length), PADDING, dtype=np.int64)
        for row, sentence in zip(result, sentences, strict=True):
            found = [self.numbers.get(word, UNKNOWN) for word in sentence[:length]]
            row[: len(found)] = found
        return result
