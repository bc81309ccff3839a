"""Language: characters and words written on, hidden words told, translations, classes and names in sentences."""

import dataclasses
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from lrcontrol.runs.task import Task
from lrcontrol.training.tasks import models_language as models
from lrcontrol.training.tasks import texts
from lrcontrol.training.tasks.combining import mean_of_probabilities
from lrcontrol.training.tasks.judging import accuracy, nats
from lrcontrol.training.tasks.problem import Problem
from lrcontrol.training.tasks.splits import Splits
from lrcontrol.training.tasks.texts import TAGS
from lrcontrol.training.tasks.vocabulary import IGNORED

__all__ = ["build", "entities", "entity_f1"]

Metrics = Callable[[Tensor, Tensor], dict[str, float]]
Counts = tuple[int, ...]


def build(task: Task, seed: int) -> Problem:
    """The model of the task's name on its texts."""
    recipe = _RECIPES[task.name]
    splits = recipe.splits()
    return Problem(
        recipe.model(splits),
        *splits,
        loss=functional.cross_entropy if recipe.metrics is accuracy else _per_symbol,
        metrics=recipe.metrics,
        batch_size=task.batch_size,
        seed=seed,
        chunk=recipe.chunk,
        weight=len if recipe.metrics is accuracy else _counted,
        combine=None if recipe.metrics is accuracy else partial(mean_of_probabilities, dim=-1),
    )


def entity_f1(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """F1 of whole entities, all kinds together; outputs of shape (rows, length, tags), targets in `TAGS`.

    An entity is right where its kind, its first and its last word are. An inside tag that continues nothing begins an
    entity, as in the evaluation of CoNLL-2000.
    """
    told = outputs.argmax(dim=-1).masked_fill(targets == IGNORED, IGNORED)
    found, wanted = entities(told), entities(targets)
    return {"f1": 2 * len(found & wanted) / max(1, len(found) + len(wanted))}


def entities(tags: Tensor) -> set[tuple[int, int, int, str]]:
    """Row, first word, end and kind of every entity in rows of numbers in `TAGS`.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[0, TAGS.index("B-person"), TAGS.index("I-person"), IGNORED]])
        >>> entities(rows)
        {(0, 1, 3, 'person')}
    """
    found = set()
    for row, numbers in enumerate(tags.tolist()):
        first, kind = 0, ""
        for place, number in enumerate([*numbers, IGNORED]):
            position, _, now = ("O" if number == IGNORED else TAGS[number]).partition("-")
            if kind and (position != "I" or now != kind):
                found.add((row, first, place, kind))
                kind = ""
            if now and not kind:
                first, kind = place, now
    return found


def _per_symbol(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _counted(targets: Tensor) -> float:
    return float((targets != IGNORED).sum())


def _symbols(splits: Splits) -> int:
    """One more than the largest number that train's inputs hold: every word of the vocabulary is in train."""
    return int(splits[0].inputs.max()) + 1


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """What a task is made of."""

    splits: Callable[[], Splits]
    model: Callable[[Splits], nn.Module]
    metrics: Metrics = nats
    chunk: int | None = None


def _generator(width: int) -> _Recipe:
    return _Recipe(texts.characters, lambda splits: models.Generator(_symbols(splits), 64, width), chunk=256)


def _tagger(splits: Splits) -> nn.Module:
    views = splits[0].inputs.amax(dim=(0, 1)) + 1
    return models.RecurrentTagger(tuple(views.tolist()), (48, 16, 16, 32), 64, len(TAGS))


def _languages(splits: Splits) -> tuple[int, int, int]:
    """How many symbols both languages have, and the length of a source."""
    length = splits[0].targets.shape[1] - 1
    return int(splits[0].inputs[:, :length].max()) + 1, int(splits[0].targets.max()) + 1, length


_RECIPES = {
    "shakespeare-gpt-100k": _generator(64),
    "shakespeare-gpt-400k": _generator(128),
    "shakespeare-gpt-1600k": _generator(256),
    "shakespeare-lstm": _Recipe(
        texts.characters,
        lambda splits: models.RecurrentGenerator(_symbols(splits), 64, 128),
        chunk=256,
    ),
    "wikitext-masked": _Recipe(texts.masked, lambda splits: models.MaskedWords(_symbols(splits), 64), chunk=1024),
    "multi30k-lstm": _Recipe(
        texts.pairs, lambda splits: models.RecurrentTranslator(*_languages(splits), width=128), chunk=256
    ),
    "multi30k-transformer": _Recipe(
        texts.pairs, lambda splits: models.AttentionTranslator(*_languages(splits), width=64), chunk=256
    ),
    "sst-bag": _Recipe(texts.sentiment, lambda splits: models.BagOfWords(_symbols(splits), 64), accuracy),
    "sst-cnn": _Recipe(texts.sentiment, lambda splits: models.Convolutions(_symbols(splits), 64, 32), accuracy),
    "subj-bag": _Recipe(texts.subjectivity, lambda splits: models.BagOfWords(_symbols(splits), 64), accuracy),
    "subj-cnn": _Recipe(texts.subjectivity, lambda splits: models.Convolutions(_symbols(splits), 64, 32), accuracy),
    "wnut17-lstm": _Recipe(texts.tagged, _tagger, entity_f1),
}
