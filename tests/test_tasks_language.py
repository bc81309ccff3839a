"""Language: the contract, that the defaults learn as they did, and what the models may see."""

import os

import pytest
import torch
from torch.nn import functional

from contracts.task import TaskContract, splits
from lrcontrol.runs.spec import RunSpec
from lrcontrol.training.tasks import data, texts
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.language import entities, entity_f1
from lrcontrol.training.tasks.problem import build
from lrcontrol.training.tasks.splits import Splits
from lrcontrol.training.tasks.texts import TAGS
from lrcontrol.training.tasks.vocabulary import IGNORED, MASK, PADDING

NAMES = [
    "multi30k-lstm",
    "multi30k-transformer",
    "shakespeare-gpt-100k",
    "shakespeare-lstm",
    "sst-bag",
    "sst-cnn",
    "subj-bag",
    "subj-cnn",
    "wikitext-masked",
    "wnut17-lstm",
]

LARGE = ["shakespeare-gpt-400k", "shakespeare-gpt-1600k"]
"""Their contract is in test_tasks_language_large.py."""

ALL = [*NAMES, *LARGE]

FILES = sorted({name for task in ALL for name in TASKS[task].files})
HERE = data.available(FILES) and (data.FOLDER in os.environ or all((data._cache() / name).is_file() for name in FILES))
pytestmark = pytest.mark.skipif(not HERE, reason=f"the texts are neither in {data.FOLDER} nor in the cache")


@pytest.mark.parametrize("task", [TASKS[name] for name in NAMES], ids=NAMES)
class TestLanguage(TaskContract):
    """Every task keeps the contract."""


def test_every_task_of_the_family_is_here() -> None:
    assert sorted(name for name, task in TASKS.items() if task.home.endswith(".language")) == sorted(ALL)


def default(name: str, steps: int | None = None, *, seed: int = 0, save: bool = False) -> RunSpec:
    task = TASKS[name]
    total = steps or task.full_steps
    return RunSpec(task=name, method=task.method, base_lr=task.base_lr, total_steps=total, seed=seed, save=save)


def unigram(parts: Splits) -> float:
    """Nats of the test targets when each is predicted by how often it occurs among train's."""
    train, _, test = (part.targets[part.targets != IGNORED] for part in parts)
    shares = train.bincount(minlength=int(test.max()) + 1).double() / len(train)
    return float(-shares[test].log().mean())


@pytest.mark.parametrize("name", ALL)
def test_naive_is_the_test_metric_of_what_does_not_look(name: str) -> None:
    problem = build(TASKS[name], 0)
    train, test = problem.train, problem.test
    if TASKS[name].objective.metric == "nats":
        naive = unigram(splits(problem))
    elif TASKS[name].objective.metric == "accuracy":
        naive = float((test.targets == train.targets.mode().values).double().mean())
    else:
        always = (torch.full_like(test.targets, tag) for tag in range(len(TAGS)))
        naive = max(entity_f1(functional.one_hot(tags, len(TAGS)), test.targets)["f1"] for tags in always)
    assert TASKS[name].naive == pytest.approx(naive, abs=5e-5)


ROWS = ["O", "B-person", "I-person", "O", "B-group", "B-group", "I-person"]


def numbers(*tags: str) -> torch.Tensor:
    return torch.tensor([[TAGS.index(tag) for tag in tags]])


def test_entities_are_of_one_kind_from_their_first_word_to_their_last() -> None:
    assert entities(numbers(*ROWS)) == {
        (0, 1, 3, "person"),
        (0, 4, 5, "group"),
        (0, 5, 6, "group"),
        (0, 6, 7, "person"),
    }
    assert entities(numbers("O", "O")) == set()
    assert entities(torch.cat([numbers("B-person"), numbers("I-person")])) == {
        (0, 0, 1, "person"),
        (1, 0, 1, "person"),
    }


def test_f1_counts_whole_entities_and_ignores_what_is_padding() -> None:
    wanted = numbers(*ROWS)
    told = functional.one_hot(numbers("O", "B-person", "O", "O", "B-group", "B-group", "I-group"), len(TAGS))
    assert entity_f1(functional.one_hot(wanted, len(TAGS)), wanted) == {"f1": 1.0}
    assert entity_f1(told, wanted) == {"f1": pytest.approx(2 * 1 / (3 + 4))}
    padded = wanted.clone()
    padded[0, 5:] = IGNORED
    assert entity_f1(told, padded) == {"f1": pytest.approx(2 * 1 / (2 + 2))}
    assert entity_f1(functional.one_hot(torch.zeros_like(wanted), len(TAGS)), wanted) == {"f1": 0.0}


def changed_by(name: str, place: int) -> torch.Tensor:
    """Which places of the outputs change when the input at `place` does."""
    problem = build(TASKS[name], 0)
    model, row = problem.model.eval(), problem.train.inputs[:1].clone()
    with torch.no_grad():
        before = model(row)
        row[0, place] = row[0, place] % 5 + 4
        return (model(row) != before).any(dim=-1)[0]


@pytest.mark.parametrize("name", ["shakespeare-gpt-100k", "shakespeare-lstm"])
def test_what_writes_on_sees_all_that_is_before_and_nothing_else(name: str) -> None:
    assert changed_by(name, 40).nonzero().flatten().tolist() == list(range(40, 64))


@pytest.mark.parametrize("name", ["multi30k-lstm", "multi30k-transformer"])
def test_translators_see_the_whole_source_and_of_the_target_what_is_before(name: str) -> None:
    assert changed_by(name, 14 + 3).nonzero().flatten().tolist() == list(range(3, 15))
    assert changed_by(name, 0).all()


def test_masked_words_are_told_from_both_sides() -> None:
    assert changed_by("wikitext-masked", int((texts.masked()[0].inputs[0] > MASK).nonzero()[0])).all()
    assert changed_by("wikitext-masked", int((texts.masked()[0].inputs[0] > MASK).nonzero()[-1])).all()


@pytest.mark.parametrize("name", ["multi30k-transformer", "sst-bag"])
def test_padding_does_not_count(name: str) -> None:
    """Whatever stands for padding in the model, its answers are the same."""
    problem = build(TASKS[name], 0)
    model, rows = problem.model.eval(), problem.train.inputs[:8]
    assert (rows == PADDING).any()
    words = model.words if name == "sst-bag" else model.source
    with torch.no_grad():
        before = model(rows)
        if name != "sst-bag":
            words.weight[PADDING] += 1
        torch.testing.assert_close(model(torch.nn.functional.pad(rows, (0, 3)) if name == "sst-bag" else rows), before)


def test_the_order_of_words_counts_for_convolutions_and_not_for_a_bag() -> None:
    for name, same in (("sst-bag", True), ("sst-cnn", False)):
        problem = build(TASKS[name], 0)
        rows = problem.train.inputs[:8]
        with torch.no_grad():
            model = problem.model.eval()
            assert torch.allclose(model(rows), model(rows.flip(1)), atol=1e-6) is same
