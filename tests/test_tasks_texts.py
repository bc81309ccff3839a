"""Texts: what they hold, that words are numbered by train alone, and damaged files."""

import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from lrcontrol.errors import DataDamaged
from lrcontrol.training.tasks import data, texts
from lrcontrol.training.tasks.catalogue import TASKS
from lrcontrol.training.tasks.language import entities
from lrcontrol.training.tasks.splits import Splits
from lrcontrol.training.tasks.texts import apart
from lrcontrol.training.tasks.vocabulary import IGNORED, MASK, PADDING, START, UNKNOWN, Vocabulary

FILES = sorted({name for task in TASKS.values() if task.home.endswith(".language") for name in task.files})
HERE = data.available(FILES) and (data.FOLDER in os.environ or all((data._cache() / name).is_file() for name in FILES))
pytestmark = pytest.mark.skipif(not HERE, reason=f"the texts are neither in {data.FOLDER} nor in the cache")


def raw(name: str, encoding: str = "utf-8") -> str:
    return data.read(name).decode(encoding)


def test_characters_are_the_text_in_order_with_the_next_character_as_target() -> None:
    text = raw("tinyshakespeare/input.txt")
    alphabet = sorted(set(text))
    assert len(alphabet) == 65
    starts = (0, round(0.9 * len(text)) + 1000, round(0.95 * len(text)) + 1000)
    stops = (round(0.9 * len(text)), round(0.95 * len(text)), len(text))
    for part, start, stop in zip(texts.characters(), starts, stops, strict=True):
        size = part.inputs.numel()
        assert stop - start - 65 <= size < stop - start
        for numbers, ahead in ((part.inputs, 0), (part.targets, 1)):
            shown = "".join(alphabet[number] for number in numbers.flatten().tolist())
            same = shown == text[start + ahead : start + ahead + size]
            assert same


def sentences(name: str) -> list[tuple[str, list[str]]]:
    rows = [line.split() for line in raw(name, "latin-1").split("\n") if line]
    return [(row[0], row[1:]) for row in rows]


def test_sst_has_its_own_splits_less_what_is_twice() -> None:
    parts = [sentences(f"sst/stsa.binary.{part}") for part in ("train", "dev", "test")]
    assert list(map(len, parts)) == [6920, 872, 1821]
    ours = texts.sentiment()
    assert [len(part) for part in ours] == [6907, 872, 1821]
    assert [int(part.targets.sum()) for part in ours] == [3603, 444, 909]
    for mine, theirs in list(zip(ours, parts, strict=True))[1:]:
        assert mine.targets.tolist() == [int(label) for label, _ in theirs]
        assert (mine.inputs != PADDING).sum(dim=1).tolist() == [min(48, len(words)) for _, words in theirs]


def test_subj_has_half_of_each_class_in_every_split() -> None:
    assert len(sentences("subj/subj.all")) == 10_000
    for part in texts.subjectivity():
        assert float(part.targets.double().mean()) == pytest.approx(0.5, abs=1e-3)


def test_wnut17_has_the_entities_that_its_files_have() -> None:
    """But for those of doubled sentences, and one of test that the cut into pieces makes two."""
    ours = texts.tagged()
    assert [len(entities(part.targets)) for part in ours] == [1901, 834, 1080]
    names = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")
    begun = [len(re.findall(r"\tB-", raw(f"wnut17/{name}"))) for name in names]
    assert begun == [1975, 836, 1079]
    for part in ours:
        words = part.inputs[..., 0] != PADDING
        assert torch.equal(words, part.targets != IGNORED)
        assert all(torch.equal(words, view != PADDING) for view in part.inputs.unbind(dim=-1))


def test_hidden_words_are_known_and_hidden_and_every_copy_hides_others() -> None:
    train, validation, test = texts.masked()
    for part in (train, validation, test):
        assert ((part.inputs == MASK).sum(dim=1) == 5).all()
        assert (part.targets > MASK).all()
    restored = train.inputs.clone()
    restored[train.inputs == MASK] = train.targets.flatten()
    alone = Counter(map(tuple, restored.tolist()))
    assert set(alone.values()) == {3, 4}, "four copies of every window, but for those hidden alike"
    assert sum(count == 3 for count in alone.values()) == 1
    assert (train.inputs == MASK).double().mean(dim=0).std() < 0.01, "every place alike"
    for part in (validation, test):
        whole = part.inputs.clone()
        whole[part.inputs == MASK] = part.targets.flatten()
        assert not alone.keys() & set(map(tuple, whole.tolist()))


def test_validation_and_test_of_wikitext_are_whole_articles_in_turn() -> None:
    """A word that one article alone has is in one split alone: none of its windows is beside them in the other."""
    articles = re.split(r"(?m)^ = (?!=)", raw("wikitext2-valid-test/test.txt"))[1:]
    lengths = [len(article.split()) + 1 for article in articles]
    windows = [sum(length // 32 for length in lengths[first::2]) for first in (0, 1)]
    for part, most in zip(texts.masked()[1:], windows, strict=True):
        assert 0.99 * most < len(part) <= most, "but for the few with less than five known words"


def test_translations_come_after_a_start_and_their_targets_are_one_ahead() -> None:
    for part in texts.pairs():
        source, before, after = part.inputs[:, :14], part.inputs[:, 14:], part.targets
        assert (before[:, 0] == START).all()
        assert (source[:, 0] != PADDING).all()
        known = before[:, 1:] > UNKNOWN
        assert torch.equal(after[:, :-1][known], before[:, 1:][known])
        assert (after[:, :-1][before[:, 1:] == UNKNOWN] == IGNORED).all()
        ends = (before != PADDING).sum(dim=1) - 1
        assert (after[torch.arange(len(after)), ends] == 3).all()
        assert ((after == 3).sum(dim=1) == 1).all()


class Altered:
    """A folder with the texts, one of them changed, and its checksum known or not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch

    def __call__(self, name: str, content: bytes, *, known: bool) -> None:
        for each in FILES:
            (self.folder / each).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / each).write_bytes(content if each == name else data.read(each))
        if known:
            facts = data.KnownFile(hashlib.sha256(content).hexdigest(), len(content))
            self.patch.setattr(data, "files", dict(data.files(), **{name: facts}).copy)
        self.patch.setenv(data.FOLDER, str(self.folder))


@pytest.fixture
def altered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Altered:
    return Altered(tmp_path, monkeypatch)


LOADERS = {
    "multi30k-en-de/train.de.gz": texts.pairs,
    "sst/stsa.binary.train": texts.sentiment,
    "subj/subj.all": texts.subjectivity,
    "tinyshakespeare/input.txt": texts.characters,
    "wikitext2-valid-test/valid.txt": texts.masked,
    "wnut17/wnut17train.conll": texts.tagged,
}
DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: bytes(range(256)) * 64,
    "one bit": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "empty": lambda content: b"",
    "a zip archive": lambda content: b"PK\x03\x04" + content,
}
ODD = [
    (
        "multi30k-en-de/train.de.gz",
        "half a gzip file",
        lambda content: content[: len(content) // 2],
        "Compressed file ended",
    ),
    (
        "multi30k-en-de/val.de.gz",
        "another language's lines",
        lambda content: data.read("multi30k-en-de/train.en.gz"),
        "zip",
    ),
    ("sst/stsa.binary.dev", "a third label", lambda content: content + b"2 words\n", "line 873 is not 0 or 1"),
    ("sst/stsa.binary.train", "no words", lambda content: b"1 \n" + content, "line 1 is not 0 or 1 and then words"),
    ("sst/stsa.binary.test", "nothing", lambda content: b"", "line 1 is not"),
    ("subj/subj.all", "a table", lambda content: b"label,text\n0,no\n", "line 1 is not 0 or 1"),
    ("tinyshakespeare/input.txt", "nothing", lambda content: b"", "it holds 0 characters"),
    ("tinyshakespeare/input.txt", "no text", lambda content: b"\xff\xfe" + content, "utf-8"),
    ("wikitext2-valid-test/test.txt", "no articles", lambda content: b"only words\n", "it holds 0 articles"),
    (
        "wnut17/emerging.dev.conll",
        "unknown tags",
        lambda content: b"word\tB-animal\n",
        "line 1 has the tag 'B-animal'",
    ),
    ("wnut17/wnut17train.conll", "no tags", lambda content: b"word word\n", "line 1 has the tag ''"),
]


def fresh(name: str) -> Splits:
    """What the loader of a file makes of it now."""
    loader = next(loader for known, loader in LOADERS.items() if known.split("/")[0] == name.split("/")[0])
    return loader.__wrapped__()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", LOADERS)
def test_a_damaged_file_is_refused_by_name_and_checksum(name: str, damage: str, altered: Altered) -> None:
    altered(name, DAMAGES[damage](data.read(name)), known=False)
    with pytest.raises(DataDamaged, match=re.escape(name) + r" must have SHA-256 \w{16}.* put a whole copy there\.$"):
        fresh(name)


@pytest.mark.parametrize(("name", "what", "change", "told"), ODD, ids=[f"{name}: {what}" for name, what, *_ in ODD])
def test_an_odd_file_is_refused_in_one_sentence_that_names_it(
    name: str, what: str, change: object, told: str, altered: Altered
) -> None:
    """Were its checksum the right one."""
    altered(name, change(data.read(name)), known=True)  # type: ignore[operator]
    with pytest.raises(
        DataDamaged, match=rf"^the data file {re.escape(name)} cannot be read: .*{told}.*\.$"
    ) as caught:
        fresh(name)
    assert "\n" not in str(caught.value)


HELD = {
    "sst/stsa.binary.test": b"0 zyzzyva zyzzyva zyzzyva\n" * 9,
    "wikitext2-valid-test/test.txt": b" = Zyzzyva = \n" + b"zyzzyva " * 900,
    "wnut17/emerging.test.annotated": b"Zyzzyva\tB-person\n" * 9,
}


@pytest.mark.parametrize("name", HELD)
def test_words_are_numbered_by_train_alone(name: str, altered: Altered) -> None:
    """Words that only test has, however often, are unknown there and change nothing in train."""
    before = fresh(name)[0]
    altered(name, data.read(name) + HELD[name], known=True)
    after = fresh(name)
    assert torch.equal(before.inputs, after[0].inputs)
    assert torch.equal(before.targets, after[0].targets)
    assert (after[2].inputs[-1] == UNKNOWN).any()


def test_vocabularies_put_the_frequent_first_and_equals_by_the_alphabet() -> None:
    known = Vocabulary([["b", "a", "c"], ["c", "d"]], most=3, marks=4)
    assert known.numbers == {"c": 4, "a": 5, "b": 6}
    assert len(known) == 7
    assert known.rows([["d", "c", "b", "a"], [], ["c"]], 3).tolist() == [
        [UNKNOWN, 4, 6],
        [PADDING] * 3,
        [4, PADDING, PADDING],
    ]
    assert Vocabulary([["a", "a", "b"]], least=2).numbers == {"a": 2}


def test_a_row_that_is_twice_stays_in_the_last_split_that_has_it() -> None:
    assert apart("abcab", "cdd", "ea") == [[1], [0, 1], [0, 1]]


def test_no_sentence_is_in_two_splits_in_other_signs_or_capitals() -> None:
    """Near-duplicates: the same letters and digits in the same order."""
    parts = [sentences(f"sst/stsa.binary.{part}") for part in ("train", "dev", "test")]
    plain = [[re.sub(r"[\W_]", "", "".join(words)) for _, words in part] for part in parts]
    doubled = [row for row, text in enumerate(plain[0]) if text in set(plain[1]) | set(plain[2])]
    assert doubled, "there are some, so this looks at something"
    lengths = Counter(len(words) for _, words in parts[0])
    kept = Counter((texts.sentiment()[0].inputs != PADDING).sum(dim=1).tolist())
    for row in doubled:
        size = len(parts[0][row][1])
        assert kept[size] < lengths[size]
